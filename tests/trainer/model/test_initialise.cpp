#include "trainer/model/initialise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/support/gradient_check.h"
#include "trainer/model/saber_model.h"

namespace saber {
namespace {

SaberModel model_with(std::uint64_t seed, std::int64_t width = 64, const std::string& kind = "saber") {
  ModelSettings settings;
  settings.kind = kind;
  settings.width = width;
  return SaberModel(settings, EmbeddingWidths{32, 24}, seed);
}

TEST(Initialise, DependsOnTheSeedAndNothingElse) {
  torch::manual_seed(1);
  SaberModel first = model_with(7);
  torch::manual_seed(2);
  SaberModel again = model_with(7), other = model_with(8);
  const auto a = test::parameters_of(*first), b = test::parameters_of(*again), c = test::parameters_of(*other);
  for (const auto& [name, value] : a) EXPECT_TRUE(torch::equal(value, b.at(name))) << name;
  for (const std::string name : {"begin", "task", "position", "block0.qkv.weight", "guider.up.weight",
                                 "mask1.token_in.weight", "guider_update0.query.weight", "task_in.weight"}) {
    EXPECT_FALSE(torch::equal(a.at(name), c.at(name))) << name;
  }
}

TEST(Initialise, ParametersOfTheSameNameAreSharedByBothKinds) {
  SaberModel saber = model_with(7), plain = model_with(7, 64, "plain");
  const auto a = test::parameters_of(*saber), b = test::parameters_of(*plain);
  for (const std::string name : {"block0.qkv.weight", "block1.up.weight", "begin", "log_scale"}) {
    EXPECT_TRUE(torch::equal(a.at(name), b.at(name))) << name;
  }
}

TEST(Initialise, ProjectionsAreOrthonormalWhereWidthsDiffer) {
  for (const std::int64_t width : {16, 64}) {  // narrower and wider than both embeddings
    SaberModel model = model_with(1, width), other = model_with(2, width);
    const auto p = test::parameters_of(*model), q = test::parameters_of(*other);
    for (const std::string name : {"fusion.image_projection.weight", "fusion.text_projection.weight"}) {
      const torch::Tensor w = p.at(name).detach();
      const torch::Tensor product = w.size(0) > w.size(1) ? w.t().matmul(w) : w.matmul(w.t());
      EXPECT_TRUE(torch::allclose(product, torch::eye(product.size(0)), 1e-5, 1e-5)) << name << width;
      EXPECT_TRUE(torch::equal(w, q.at(name))) << "the projection is the same for every seed";
    }
  }
}

TEST(Initialise, TheHeadStartsAtSimilarity) {
  SaberModel model = model_with(1);
  auto p = test::parameters_of(*model);
  for (const std::string name : {"head.weight", "end_key", "fusion.gate.weight", "fusion.gate.bias"}) {
    EXPECT_EQ(p.at(name).abs().max().item<double>(), 0) << name;
  }
  EXPECT_NEAR(p.at("log_scale").item<double>(), 2.3, 1e-6);
  EXPECT_EQ(p.at("mask0.alpha").item<double>(), 1);
}

TEST(Initialise, WithoutThatStartTheHeadIsDrawn) {
  ModelSettings settings;
  settings.width = 128;
  settings.head_start = "random";
  SaberModel model(settings, EmbeddingWidths{128, 128}, 1);
  auto p = test::parameters_of(*model);
  EXPECT_EQ(p.at("log_scale").item<double>(), 0);
  EXPECT_NEAR(p.at("head.weight").std().item<double>() * std::sqrt(256.0), 1, 0.05);
  EXPECT_NEAR(p.at("fusion.text_projection.weight").std().item<double>() * std::sqrt(128.0), 1, 0.05);
}

TEST(Initialise, WeightsHaveTheVarianceOfTheirFanIn) {
  SaberModel model = model_with(1, 128);
  auto p = test::parameters_of(*model);
  const auto expect_deviation = [&](const std::string& name, double wanted) {
    EXPECT_NEAR(p.at(name).std().item<double>() / wanted, 1, 0.05) << name;
  };
  expect_deviation("block0.qkv.weight", 1 / std::sqrt(128.0));
  expect_deviation("block0.up.weight", 1 / std::sqrt(128.0));
  expect_deviation("block0.down.weight", 1 / std::sqrt(512.0) / std::sqrt(4.0));  // 2 blocks
  expect_deviation("block1.out.weight", 1 / std::sqrt(128.0) / std::sqrt(4.0));
  expect_deviation("mask0.token_in.weight", 1 / std::sqrt(128.0));
  expect_deviation("position", 0.02);
  EXPECT_NEAR(p.at("task").std().item<double>(), 1, 0.2);
}

}  // namespace
}  // namespace saber
