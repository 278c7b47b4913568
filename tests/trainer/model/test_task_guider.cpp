#include "trainer/model/task_guider.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/gradient_check.h"

namespace saber {
namespace {

constexpr std::int64_t kGuiderWidth = 4, kLength = 4;

ModelSettings guider_settings() {
  ModelSettings out;
  out.width = kGuiderWidth;
  return out;
}

torch::Tensor later() {
  return torch::ones({kLength, kLength}, torch::kBool).triu(1);
}

const std::vector<std::string> kAll = {"image", "query", "instruction"};

TEST(QueryMlp, ReadsTheNamedInputsAtUnitVariance) {
  const auto unit = [](std::int64_t width) {
    const torch::Tensor x = torch::randn({2, width});
    return x / x.norm(2, 1, true);
  };
  const torch::Tensor image = unit(9), query = unit(4), instruction = unit(4);
  const auto by_hand = [](QueryMlp& mlp, const torch::Tensor& inputs) {
    test::NamedInputs p = test::parameters_of(*mlp);
    const torch::Tensor hidden = torch::gelu(inputs.matmul(p.at("up.weight").t()) + p.at("up.bias"));
    return hidden.matmul(p.at("down.weight").t()) + p.at("down.bias");
  };
  const QueryBatch queries{image, query, instruction};
  const EmbeddingWidths widths{9, 4};
  QueryMlp all(kGuiderWidth, widths, kAll), question(kGuiderWidth, widths, std::vector<std::string>{"query"}),
      others(kGuiderWidth, widths, std::vector<std::string>{"instruction", "image"});
  EXPECT_TRUE(torch::allclose(all(queries), by_hand(all, torch::cat({3 * image, 2 * query, 2 * instruction}, 1))));
  EXPECT_TRUE(torch::allclose(question(queries), by_hand(question, 2 * query)));
  EXPECT_TRUE(torch::allclose(others(queries), by_hand(others, torch::cat({3 * image, 2 * instruction}, 1))));
}

TEST(QueryMlp, GradientsMatchCentralDifferences) {
  QueryMlp guider(kGuiderWidth, EmbeddingWidths{3, 2}, kAll);
  guider->to(torch::kFloat64);
  test::randomise(*guider, 1);
  const auto drawn = [](std::int64_t width) { return torch::randn({2, width}, torch::kFloat64).requires_grad_(); };
  const QueryBatch x{drawn(3), drawn(2), drawn(2)};
  const torch::Tensor weights = torch::randn({2, kGuiderWidth}, torch::kFloat64);
  test::NamedInputs inputs = test::parameters_of(*guider);
  EXPECT_EQ(inputs.at("up.weight").sizes(), (std::vector<std::int64_t>{4 * kGuiderWidth, 7}));
  inputs["image"] = x.image;
  inputs["query"] = x.query;
  inputs["instruction"] = x.instruction;
  test::expect_gradients_match([&] { return (guider(x) * weights).sum(); }, inputs);
  test::NamedInputs matrices;
  for (const std::string name : {"up.weight", "down.weight"}) matrices[name] = inputs.at(name);
  test::expect_gradients_match([&] { return guider->squared_weights(); }, matrices);
  EXPECT_NEAR(
      guider->squared_weights().item<double>(),
      matrices.at("up.weight").square().sum().item<double>() + matrices.at("down.weight").square().sum().item<double>(),
      1e-10);
}

class Update : public testing::Test {
 protected:
  Update() : update_(guider_settings()) {
    update_->to(torch::kFloat64);
    test::randomise(*update_, 2);
    g_ = torch::randn({2, kLength, kGuiderWidth}, torch::kFloat64).requires_grad_();
    hidden_ = torch::randn({2, kLength, kGuiderWidth}, torch::kFloat64).requires_grad_();
  }

  GuiderUpdate update_;
  torch::Tensor g_, hidden_;
};

TEST_F(Update, GradientsMatchCentralDifferences) {
  const torch::Tensor weights = torch::randn({2, kLength, kGuiderWidth}, torch::kFloat64);
  test::NamedInputs inputs = test::parameters_of(*update_);
  inputs["g"] = g_;
  inputs["hidden"] = hidden_;
  test::expect_gradients_match([&] { return (update_(g_, hidden_, later()) * weights).sum(); }, inputs);
}

TEST_F(Update, IsCausalBitForBit) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor before = update_(g_, hidden_, later());
  for (std::int64_t k = 0; k < kLength; ++k) {
    torch::Tensor changed = hidden_.clone();
    changed.select(1, k).add_(torch::randn({2, kGuiderWidth}, torch::kFloat64));
    const torch::Tensor after = update_(g_, changed, later());
    EXPECT_TRUE(torch::equal(after.narrow(1, 0, k), before.narrow(1, 0, k))) << k;
    for (std::int64_t i = k; i < kLength; ++i) EXPECT_FALSE(torch::equal(after[0][i], before[0][i])) << k << i;
  }
}

TEST_F(Update, IsAttentionOverThePositionsSoFar) {
  const torch::NoGradGuard no_grad;
  const auto p = test::parameters_of(*update_);
  const torch::Tensor out = update_(g_, hidden_, later());
  for (std::int64_t i = 0; i < kLength; ++i) {
    const torch::Tensor key_value = hidden_[1].narrow(0, 0, i + 1).matmul(p.at("key_value.weight").t());
    const torch::Tensor q = p.at("query.weight").mv(g_[1][i]);
    const torch::Tensor weights = (key_value.narrow(1, 0, kGuiderWidth).mv(q) / 2.0).softmax(0);  // sqrt(width) = 2
    const torch::Tensor sum = g_[1][i] + weights.matmul(key_value.narrow(1, kGuiderWidth, kGuiderWidth));
    const torch::Tensor wanted = torch::layer_norm(sum, {kGuiderWidth}, p.at("norm.weight"), p.at("norm.bias"));
    EXPECT_TRUE(torch::allclose(out[1][i], wanted, 1e-10, 1e-10)) << i;
  }
}

}  // namespace
}  // namespace saber
