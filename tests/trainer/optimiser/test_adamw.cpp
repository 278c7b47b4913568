#include "trainer/optimiser/adamw.h"

#include <gtest/gtest.h>

#include <cmath>

namespace saber {
namespace {
namespace nn = torch::nn;

OptimiserSettings optimiser_settings() {
  OptimiserSettings out;
  out.rate = 1e-2;
  out.schedule = "constant";
  return out;
}

nn::Sequential network(torch::ScalarType type) {
  torch::manual_seed(3);
  nn::Sequential out(nn::Linear(5, 7), nn::GELU(), nn::Linear(7, 2));
  out->to(type);
  return out;
}

TEST(AdamW, EqualsLibTorchsOwn) {
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    nn::Sequential ours = network(type), theirs = network(type);
    FlatParameters flat(*ours);
    AdamW optimiser(flat);
    torch::optim::AdamW reference(theirs->parameters(), torch::optim::AdamWOptions(1e-2).weight_decay(0.05));
    for (std::int64_t step = 0; step < 40; ++step) {
      const torch::Tensor x = torch::randn({9, 5}, type), y = torch::randn({9, 2}, type);
      const double rate = step < 20 ? 1e-2 : 3e-3;
      flat.gradients().zero_();
      (ours->forward(x) - y).square().mean().backward();
      optimiser.update(step, rate, 0.05);
      reference.zero_grad();
      (theirs->forward(x) - y).square().mean().backward();
      static_cast<torch::optim::AdamWOptions&>(reference.param_groups()[0].options()).lr(rate);
      reference.step();
      for (std::size_t i = 0; i < 4; ++i) {
        const double difference = (ours->parameters()[i] - theirs->parameters()[i]).abs().max().item<double>();
        ASSERT_LT(difference, type == torch::kFloat32 ? 1e-6 : 1e-12) << step << " " << i;
      }
    }
  }
}

TEST(AdamW, ScalesTheGradientsPartByPart) {
  nn::Sequential network(nn::Linear(600, 500)), twin(nn::Linear(600, 500));  // more than a part
  FlatParameters flat(*network), other(*twin);
  other.values().copy_(flat.values());
  const torch::Tensor gradient = torch::randn({flat.num_parameters()});
  flat.gradients().copy_(gradient);
  other.gradients().copy_(gradient * 0.25);
  flat.loss().fill_(77);
  AdamW scaled(flat), plain(other);
  scaled.update(0, 1e-3, 0.05, 0.25);
  plain.update(0, 1e-3, 0.05);
  EXPECT_TRUE(torch::equal(flat.values(), other.values()));
  EXPECT_TRUE(torch::equal(scaled.state().at("m.0.weight"), plain.state().at("m.0.weight")));
  EXPECT_EQ(flat.loss().item<double>(), 77) << "the loss beside the gradients is not scaled";
}

TEST(ClipScale, BringsTheNormDownToItsLimit) {
  EXPECT_DOUBLE_EQ(clip_scale(8, 2), 0.25);
  EXPECT_EQ(clip_scale(1.5, 2), 1);
  EXPECT_EQ(clip_scale(8, 0), 1) << "no limit";
}

TEST(AdamW, StateNamesBothMomentsAndSharesTheirMemory) {
  nn::Sequential network = saber::network(torch::kFloat32);
  FlatParameters flat(*network);
  AdamW optimiser(flat);
  const NamedTensors state = optimiser.state();
  EXPECT_EQ(state.size(), 8U);
  EXPECT_EQ(state.at("v.0.weight").sizes(), network->parameters()[0].sizes());
  flat.gradients().fill_(2);
  optimiser.update(0, 1e-3, 0.05);
  EXPECT_NEAR(state.at("m.0.bias")[0].item<double>(), 0.2, 1e-6);
  EXPECT_NEAR(state.at("v.2.weight")[0][0].item<double>(), 0.004, 1e-6);
}

TEST(AdamW, AfterAResetItIsAsNew) {
  nn::Sequential network = saber::network(torch::kFloat32), twin = saber::network(torch::kFloat32);
  FlatParameters flat(*network), other(*twin);
  AdamW optimiser(flat), fresh(other);
  flat.gradients().fill_(2);
  optimiser.update(0, 1e-3, 0.05);
  flat.values().copy_(other.values());
  optimiser.reset();
  other.gradients().fill_(2);
  optimiser.update(0, 1e-3, 0.05);
  fresh.update(0, 1e-3, 0.05);
  EXPECT_TRUE(torch::equal(flat.values(), other.values()));
}

TEST(LearningRate, FollowsItsSchedule) {
  OptimiserSettings constant = optimiser_settings(), cosine = optimiser_settings();
  constant.warmup_steps = cosine.warmup_steps = 4;
  cosine.schedule = "cosine";
  for (std::int64_t step = 0; step < 4; ++step) {
    EXPECT_NEAR(learning_rate(constant, step, 24), 1e-2 * static_cast<double>(step + 1) / 4, 1e-15);
    EXPECT_EQ(learning_rate(cosine, step, 24), learning_rate(constant, step, 24));
  }
  for (std::int64_t step = 4; step < 24; ++step) EXPECT_EQ(learning_rate(constant, step, 24), 1e-2);
  EXPECT_NEAR(learning_rate(cosine, 4, 24), 1e-2, 1e-15);
  EXPECT_NEAR(learning_rate(cosine, 14, 24), 5e-3, 1e-15);
  EXPECT_NEAR(learning_rate(cosine, 9, 24), 1e-2 / 2 * (1 + std::sqrt(0.5)), 1e-15);
  EXPECT_NEAR(learning_rate(cosine, 24, 24), 0, 1e-15);
  EXPECT_NEAR(learning_rate(cosine, 99, 24), 0, 1e-15);
}

}  // namespace
}  // namespace saber
