#include "trainer/model/precision.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace saber {
namespace {

struct Layer {
  torch::Tensor x, weight, bias, other;

  Layer() {
    torch::manual_seed(3);
    x = torch::randn({5, 64}, torch::requires_grad());
    weight = torch::randn({32, 64}, torch::requires_grad());
    bias = torch::randn({32}, torch::requires_grad());
    other = torch::randn({32, 5}, torch::requires_grad());
  }
  std::vector<torch::Tensor> leaves() const { return {x, weight, bias, other}; }
  // Two layers that share their weight, and a product of what comes out.
  torch::Tensor forward() const {
    const torch::Tensor y = torch::linear(x, weight, bias) + torch::linear(x * 0.5, weight);
    return torch::matmul(y, other);
  }
};

class Precision : public testing::TestWithParam<Bf16Kernel> {};

TEST_P(Precision, InputsAreRoundedAndResultsAreBfloat16) {
  // 1 + 2^-9 is no bfloat16; products of rounded numbers, summed in float32: 256 times 1 x 1, where 256 is one.
  const torch::Tensor a = torch::full({2, 256}, 1 + 1.0 / 512), b = torch::full({256, 2}, 1 + 1.0 / 512);
  const Bf16Products bf16(true, torch::kCPU, GetParam());
  for (const torch::Tensor& product :
       {torch::matmul(a, b), torch::linear(a, b.t()), torch::matmul(a.to(torch::kBFloat16), b)}) {
    EXPECT_EQ(product.scalar_type(), torch::kBFloat16);
    EXPECT_TRUE((product == 256).all().item<bool>()) << product;
  }
  EXPECT_EQ((a + 1).scalar_type(), torch::kFloat32);
}

TEST_P(Precision, ValuesAndGradientsAreThoseOfFloat32UpToRounding) {
  const Layer exact, ours;
  const torch::Tensor wanted = exact.forward();
  torch::Tensor found;
  {
    const Bf16Products bf16(true, torch::kCPU, GetParam());
    found = ours.forward();
  }
  const auto near = [](const torch::Tensor& a, const torch::Tensor& b) {
    return (a - b).norm().item<double>() / b.norm().item<double>();
  };
  EXPECT_LT(near(found, wanted), 0.01);
  EXPECT_GT(near(found, wanted), 1e-5) << "nothing is rounded";
  wanted.square().sum().backward();
  found.to(torch::kFloat32).square().sum().backward();
  for (std::size_t i = 0; i < ours.leaves().size(); ++i) {
    EXPECT_EQ(ours.leaves()[i].grad().scalar_type(), torch::kFloat32);
    EXPECT_LT(near(ours.leaves()[i].grad(), exact.leaves()[i].grad()), 0.02) << i;
  }
}

TEST_P(Precision, NothingIsLeftAfterwards) {
  const Layer layer;
  {
    const Bf16Products bf16(true, torch::kCPU, GetParam());
    EXPECT_TRUE(Bf16Products::active(torch::kCPU));
    layer.forward();
    torch::NoGradGuard no_grad;
    layer.weight.mul_(2);  // as an optimiser's step does, after the forward pass
  }
  EXPECT_FALSE(Bf16Products::active(torch::kCPU));
  EXPECT_EQ(layer.forward().scalar_type(), torch::kFloat32);
  const Bf16Products bf16(true, torch::kCPU, GetParam());
  const torch::Tensor weight = layer.weight.detach();
  EXPECT_TRUE(torch::equal(torch::linear(layer.x, layer.weight), torch::linear(layer.x, weight)))
      << "an earlier rounding of the parameter was used";
}

TEST_P(Precision, Off) {
  const Bf16Products bf16(false, torch::kCPU, GetParam());
  EXPECT_FALSE(Bf16Products::active(torch::kCPU));
  EXPECT_EQ(Layer().forward().scalar_type(), torch::kFloat32);
}

INSTANTIATE_TEST_SUITE_P(Kernels, Precision, testing::Values(Bf16Kernel::bfloat16, Bf16Kernel::float32));

TEST(Precision, BothKernelsDifferByRoundingAlone) {
  std::vector<torch::Tensor> values;
  for (const Bf16Kernel kernel : {Bf16Kernel::bfloat16, Bf16Kernel::float32}) {
    const Bf16Products bf16(true, torch::kCPU, kernel);
    values.push_back(Layer().forward().to(torch::kFloat32));
  }
  // A bfloat16 has 8 bits: the last one may fall either way in a sum, and once more in the product that reads it.
  EXPECT_TRUE(torch::allclose(values[0], values[1], 1.0 / 64, 0.2)) << values[0] - values[1];
}

}  // namespace
}  // namespace saber
