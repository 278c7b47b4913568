#include "trainer/optimiser/gradient_reduction.h"

#include <gtest/gtest.h>

#include "tests/trainer/mpi/train_world.h"

namespace saber {
namespace {

using namespace test;

struct Layers : torch::nn::Module {
  std::vector<torch::nn::Linear> all;
  torch::Tensor unused;

  Layers() {
    unused = register_parameter("unused", torch::ones({5}));
    for (int i = 0; i < 4; ++i) {
      all.push_back(register_module("layer" + std::to_string(i), torch::nn::Linear(8, 8)));
      for (torch::Tensor& p : all.back()->parameters()) torch::nn::init::constant_(p, 0.1 * (i + 1));
    }
  }
  torch::Tensor loss(double input) {
    torch::Tensor x = torch::full({3, 8}, input);
    for (auto& layer : all) x = torch::tanh(layer(x));
    return x.sum();
  }
};

class Reduction : public testing::Test {
 protected:
  const ProcessGroupPtr group_ = make_process_group(mpi_world(), {});
  const double mine_ = 0.1 * (mpi_world().rank() + 1);

  // Sum over the ranks, by plain autograd in one process.
  static std::vector<torch::Tensor> wanted() {
    Layers model;
    for (int r = 0; r < mpi_world().world_size(); ++r) model.loss(0.1 * (r + 1)).backward();
    std::vector<torch::Tensor> out;
    for (const torch::Tensor& p : model.parameters())
      out.push_back(p.grad().defined() ? p.grad() : torch::zeros_like(p));
    return out;
  }
  static void expect_gradients(const Layers& model) {
    const std::vector<torch::Tensor> sums = wanted();
    for (std::size_t i = 0; i < sums.size(); ++i)
      EXPECT_TRUE(torch::allclose(model.parameters()[i].grad(), sums[i], 1e-5, 1e-6)) << i;
  }
};

TEST_F(Reduction, MostBucketsTravelWhileBackwardGoesOn) {
  Layers model;
  FlatParameters parameters(model);
  GradientReduction reduction(parameters, *group_, /*bucket_bytes=*/300);
  EXPECT_EQ(reduction.num_buckets(), 5) << "one per layer, and the unused parameter at the front of the buffer";
  for (int step = 0; step < 3; ++step) {
    parameters.drop_gradients();
    reduction.begin();
    model.loss(mine_).backward();
    const double squares = reduction.finish();
    expect_gradients(model);
    EXPECT_NEAR(squares, parameters.gradients().square().sum().item<double>(), 1e-5 * squares);
    EXPECT_EQ(reduction.num_overlapped(), 4) << "the unused parameter waits for the end";
  }
}

TEST_F(Reduction, EarlierBackwardsSendNothing) {
  Layers model;
  FlatParameters parameters(model);
  GradientReduction reduction(parameters, *group_, 300);
  parameters.drop_gradients();
  const std::int64_t before = mpi_world().operations().begin("none").number;
  model.loss(mine_).backward();
  EXPECT_EQ(mpi_world().operations().begin("none").number, before + 1);
  reduction.begin();
  reduction.finish();
  expect_gradients(model);
}

TEST_F(Reduction, ARankWithoutSamplesTakesPart) {
  Layers model;
  FlatParameters parameters(model);
  GradientReduction reduction(parameters, *group_, 300);
  parameters.gradients().fill_(7);  // of an earlier step
  parameters.drop_gradients();
  reduction.begin();
  if (mpi_world().rank() > 0) model.loss(mine_).backward();
  reduction.finish();
  Layers alone;
  for (int r = 1; r < mpi_world().world_size(); ++r) alone.loss(0.1 * (r + 1)).backward();
  for (std::size_t i = 0; i < alone.parameters().size(); ++i) {
    const torch::Tensor grad = alone.parameters()[i].grad();
    const torch::Tensor sum = grad.defined() ? grad : torch::zeros_like(alone.parameters()[i]);
    EXPECT_TRUE(torch::allclose(model.parameters()[i].grad(), sum, 1e-5, 1e-6)) << i;
  }
}

TEST_F(Reduction, NoHookIsLeftBehind) {
  Layers model;
  FlatParameters parameters(model);
  { const GradientReduction reduction(parameters, *group_, 300); }
  parameters.drop_gradients();
  model.loss(mine_).backward();
  EXPECT_EQ(parameters.gradients().abs().sum().item<double>(), 0) << "nobody has put the gradients into their place";
}

}  // namespace
}  // namespace saber
