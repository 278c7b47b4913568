#include "trainer/optimiser/flat_parameters.h"

#include <gtest/gtest.h>

#include "tests/support/gradient_check.h"
#include "tests/support/small_model.h"
#include "trainer/model/saber_model.h"

namespace saber {
namespace {

SaberModel small_model() {
  return test::small_model({8, 8});
}

torch::Tensor output(SaberModel& model) {
  torch::manual_seed(1);
  const QueryBatch queries{torch::randn({2, 8}), torch::randn({2, 8}), torch::randn({2, 8})};
  return model(queries, torch::randn({2, 2, 8}));
}

bool shares(const torch::Tensor& part, const torch::Tensor& whole) {
  const auto* const begin = static_cast<const char*>(whole.data_ptr());
  const auto* const at = static_cast<const char*>(part.data_ptr());
  return at >= begin && at + part.nbytes() <= begin + whole.nbytes();
}

void settle_all(FlatParameters& flat) {
  for (std::size_t i = 0; i < flat.parameters().size(); ++i) flat.settle_gradient(i);
}

TEST(FlatParameters, MovingChangesNoValue) {
  SaberModel model = small_model();
  const torch::Tensor before = output(model).detach();
  const test::NamedInputs parameters = test::parameters_of(*model);
  NamedTensors copies;
  for (const auto& [name, p] : parameters) copies[name] = p.detach().clone();
  FlatParameters flat(*model);
  EXPECT_TRUE(torch::equal(output(model), before));
  const NamedTensors named = flat.named(flat.values());
  ASSERT_EQ(named.size(), copies.size());
  std::int64_t total = 0;
  for (const auto& [name, copy] : copies) {
    EXPECT_TRUE(torch::equal(named.at(name), copy)) << name;
    total += copy.numel();
  }
  EXPECT_EQ(flat.num_parameters(), total);
  EXPECT_EQ(flat.gradients_and_loss().numel(), total + 1);
}

TEST(FlatParameters, GradientsLandInTheBuffer) {
  SaberModel model = small_model(), plain = small_model();
  test::randomise(*model, 5, 0.3);
  test::randomise(*plain, 5, 0.3);
  FlatParameters flat(*model);
  for (int backwards = 1; backwards <= 2; ++backwards) {
    flat.drop_gradients();
    plain->zero_grad();
    for (int i = 0; i < backwards; ++i) {
      output(model).square().sum().backward();
      settle_all(flat);
      output(plain).square().sum().backward();
    }
    const NamedTensors gradients = flat.named(flat.gradients());
    for (const auto& [name, p] : test::parameters_of(*plain)) {
      const torch::Tensor wanted = p.grad().defined() ? p.grad() : torch::zeros_like(p);
      EXPECT_TRUE(torch::equal(gradients.at(name), wanted)) << name;
    }
    EXPECT_GT(flat.gradients().abs().max().item<double>(), 0);
  }
}

TEST(FlatParameters, ViewsStayViews) {
  SaberModel model = small_model();
  FlatParameters flat(*model);
  const torch::Tensor before = output(model).detach();
  output(model).sum().backward();
  EXPECT_GT(flat.gradients().abs().max().item<double>(), 0);
  flat.values().add_(0.1);
  flat.loss().fill_(3);
  flat.drop_gradients();
  EXPECT_EQ(flat.loss().item<double>(), 0);
  settle_all(flat);
  for (const auto& [name, p] : test::parameters_of(*model)) {
    EXPECT_TRUE(shares(p, flat.values())) << name;
    EXPECT_TRUE(shares(p.grad(), flat.gradients_and_loss())) << name;
    EXPECT_TRUE(p.requires_grad() && p.is_leaf()) << name;
    EXPECT_EQ(p.grad().abs().max().item<double>(), 0) << name;
  }
  EXPECT_FALSE(torch::allclose(output(model), before)) << "the model reads the buffer";
}

}  // namespace
}  // namespace saber
