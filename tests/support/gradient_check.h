// Autograd against central differences, in float64.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>

namespace saber::test {

using ScalarFunction = std::function<torch::Tensor()>;
using NamedInputs = std::map<std::string, torch::Tensor>;

inline NamedInputs parameters_of(torch::nn::Module& module) {
  NamedInputs out;
  for (const auto& item : module.named_parameters()) out[item.key()] = item.value();
  return out;
}

// All parameters drawn anew: initial values hold zeros and ones behind which mistakes hide.
inline void randomise(torch::nn::Module& module, std::uint64_t seed, double scale = 0.5) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(seed);
  for (torch::Tensor& p : module.parameters()) p.copy_(scale * torch::randn(p.sizes(), torch::kFloat64));
}

// The derivative of `loss` when `input` moves along `direction`.
inline double central_difference(const ScalarFunction& loss, const torch::Tensor& input,
                                 const torch::Tensor& direction) {
  constexpr double kStep = 1e-5;
  const torch::NoGradGuard no_grad;
  const torch::Tensor before = input.clone();
  const auto value_at = [&](double step) {
    input.detach().copy_(before + step * direction);
    return loss().item<double>();
  };
  const double slope = (value_at(kStep) - value_at(-kStep)) / (2 * kStep);
  input.detach().copy_(before);
  return slope;
}

enum class Along { every_element, random_directions };

// Expects equal derivatives for each of `inputs` (float64, requiring gradients), none of them zero throughout.
inline void expect_gradients_match(const ScalarFunction& loss, const NamedInputs& inputs,
                                   Along along = Along::every_element) {
  for (const auto& item : inputs) item.second.mutable_grad() = torch::Tensor();
  loss().backward();
  for (const auto& [name, input] : inputs) {
    ASSERT_EQ(input.scalar_type(), torch::kFloat64) << name;
    ASSERT_TRUE(input.grad().defined()) << name;
    EXPECT_GT(input.grad().abs().max().item<double>(), 1e-7) << name << " has no influence";
    const std::int64_t count = along == Along::every_element ? input.numel() : 3;
    for (std::int64_t i = 0; i < count; ++i) {
      torch::Tensor direction = torch::randn(input.sizes(), torch::kFloat64);
      if (along == Along::every_element) direction.zero_().view(-1)[i] = 1;
      const double analytic = (input.grad() * direction).sum().item<double>();
      const double numeric = central_difference(loss, input, direction);
      ASSERT_NEAR(analytic, numeric, 1e-6 * std::max(1.0, std::abs(analytic))) << name << " " << i;
    }
  }
}

}  // namespace saber::test
