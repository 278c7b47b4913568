// The eyes of the tiny LVLM: a small convolutional network (docs/lvlm.md).
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace saber {

class VisionTowerImpl : public torch::nn::Module {
 public:
  static constexpr std::int64_t kWidth = 128;

  // height, width: of the pictures.
  VisionTowerImpl(std::int64_t height, std::int64_t width);

  // pixels: uint8 [batch, 3, height, width]. Returns [batch, 128].
  torch::Tensor forward(const torch::Tensor& pixels);

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr}, conv3_{nullptr};
  torch::nn::Linear linear1_{nullptr}, linear2_{nullptr};
};
TORCH_MODULE(VisionTower);

}  // namespace saber
