#include "trainer/model/task_guider.h"

#include <gtest/gtest.h>

#include <cmath>

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

TEST(TaskGuider, InputsHaveUnitVariance) {
  const auto unit = [](std::int64_t width) {
    const torch::Tensor x = torch::randn({2, width});
    return x / x.norm(2, 1, true);
  };
  const torch::Tensor image = unit(9), query = unit(4), instruction = unit(4);
  const torch::Tensor inputs = scaled_query_inputs(image, query, instruction);
  ASSERT_EQ(inputs.sizes(), (std::vector<std::int64_t>{2, 17}));
  EXPECT_TRUE(torch::allclose(inputs, torch::cat({3 * image, 2 * query, 2 * instruction}, 1)));
}

TEST(TaskGuider, GradientsMatchCentralDifferences) {
  TaskGuider guider(guider_settings(), EmbeddingWidths{3, 2});
  guider->to(torch::kFloat64);
  test::randomise(*guider, 1);
  const torch::Tensor x = torch::randn({2, 7}, torch::kFloat64).requires_grad_();
  const torch::Tensor weights = torch::randn({2, kGuiderWidth}, torch::kFloat64);
  test::NamedInputs inputs = test::parameters_of(*guider);
  EXPECT_EQ(inputs.at("up.weight").sizes(), (std::vector<std::int64_t>{4 * kGuiderWidth, 7}));
  inputs["x"] = x;
  test::expect_gradients_match([&] { return (guider(x) * weights).sum(); }, inputs);
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
