#include "trainer/lvlm/vision_tower.h"

#include "core/error.h"

namespace saber {
namespace nn = torch::nn;

VisionTowerImpl::VisionTowerImpl(std::int64_t height, std::int64_t width) {
  if (height % 8 != 0 || width % 8 != 0) throw_bad_input("pictures must be multiples of 8 pixels high and wide");
  conv1_ = register_module("conv1", nn::Conv2d(nn::Conv2dOptions(3, 32, 4).stride(2).padding(1)));
  conv2_ = register_module("conv2", nn::Conv2d(nn::Conv2dOptions(32, 64, 3).padding(1)));
  conv3_ = register_module("conv3", nn::Conv2d(nn::Conv2dOptions(64, 128, 3).padding(1)));
  linear1_ = register_module("linear1", nn::Linear(128 * (height / 8) * (width / 8), 256));
  linear2_ = register_module("linear2", nn::Linear(256, kWidth));
}

torch::Tensor VisionTowerImpl::forward(const torch::Tensor& pixels) {
  torch::Tensor x = pixels.to(torch::kFloat32).div(127.5).sub(1.0);
  x = torch::gelu(conv1_(x));
  x = torch::max_pool2d(torch::gelu(conv2_(x)), 2);
  x = torch::max_pool2d(torch::gelu(conv3_(x)), 2);
  return linear2_(torch::gelu(linear1_(x.flatten(1))));
}

}  // namespace saber
