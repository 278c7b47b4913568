#include "trainer/model/fusion.h"

#include <gtest/gtest.h>

#include "tests/support/gradient_check.h"
#include "trainer/model/saber_model.h"

namespace saber {
namespace {

torch::Tensor unit_rows(at::IntArrayRef sizes) {
  const torch::Tensor x = torch::randn(sizes);
  return x / x.norm(2, -1, /*keepdim=*/true);
}

ModelSettings settings_with(const std::string& gate, std::int64_t width = 8) {
  ModelSettings settings;
  settings.gate = gate;
  settings.width = width;
  return settings;
}

TEST(Fusion, StartsAsTheSumOfPictureAndText) {
  torch::manual_seed(1);
  const torch::Tensor image = unit_rows({3, 8}), text = unit_rows({3, 8});
  for (const std::string gate : {"vector", "scalar", "none"}) {
    SaberModel model(settings_with(gate), EmbeddingWidths{8, 8}, 5);
    EXPECT_TRUE(torch::allclose(model->fuse(image, text), image + text, 1e-6, 1e-6)) << gate;
  }
}

TEST(Fusion, IsTheGatedSum) {
  torch::manual_seed(2);
  const torch::Tensor image = unit_rows({4, 6}).to(torch::kFloat64), text = unit_rows({4, 5}).to(torch::kFloat64);
  for (const std::string gate : {"vector", "scalar", "none"}) {
    Fusion fusion(settings_with(gate, 3), EmbeddingWidths{6, 5});
    fusion->to(torch::kFloat64);
    test::randomise(*fusion, 3);
    const auto p = test::parameters_of(*fusion);
    const torch::Tensor v = image.matmul(p.at("image_projection.weight").t());
    const torch::Tensor u = text.matmul(p.at("text_projection.weight").t());
    torch::Tensor f = torch::full({1}, 0.5, torch::kFloat64);
    if (gate != "none") f = torch::sigmoid(torch::cat({v, u}, 1).matmul(p.at("gate.weight").t()) + p.at("gate.bias"));
    if (gate == "scalar") {
      ASSERT_EQ(f.size(1), 1);
    }
    EXPECT_TRUE(torch::allclose(fusion(image, text), 2 * (f * v + (1 - f) * u), 1e-12, 1e-12)) << gate;
  }
}

TEST(Fusion, NoGateMeansNoGateParameters) {
  EXPECT_EQ(Fusion(settings_with("none"), EmbeddingWidths{8, 8})->named_parameters().size(), 2);
  EXPECT_EQ(Fusion(settings_with("scalar"), EmbeddingWidths{8, 8})->named_parameters()["gate.weight"].numel(), 16);
}

}  // namespace
}  // namespace saber
