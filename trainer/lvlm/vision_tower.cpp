#include "trainer/lvlm/vision_tower.h"

#include "core/narrow.h"

namespace saber {
namespace nn = torch::nn;
namespace {

constexpr std::int64_t kMultiple = 8;  // stride 2 and two poolings

std::int64_t padding_of(std::int64_t size) {
  return ceil_div(size, kMultiple) * kMultiple - size;
}

}  // namespace

VisionTowerImpl::VisionTowerImpl(std::int64_t height, std::int64_t width) {
  conv1_ = register_module("conv1", nn::Conv2d(nn::Conv2dOptions(3, 32, 4).stride(2).padding(1)));
  conv2_ = register_module("conv2", nn::Conv2d(nn::Conv2dOptions(32, 64, 3).padding(1)));
  conv3_ = register_module("conv3", nn::Conv2d(nn::Conv2dOptions(64, 128, 3).padding(1)));
  linear1_ =
      register_module("linear1", nn::Linear(128 * ceil_div(height, kMultiple) * ceil_div(width, kMultiple), 256));
  linear2_ = register_module("linear2", nn::Linear(256, kWidth));
}

torch::Tensor VisionTowerImpl::forward(const torch::Tensor& pixels) {
  torch::Tensor x = pixels.to(torch::kFloat32).div(127.5).sub(1.0);
  const std::int64_t below = padding_of(x.size(2)), right = padding_of(x.size(3));
  if (below + right > 0) x = torch::constant_pad_nd(x, {0, right, 0, below});
  x = torch::gelu(conv1_(x));
  x = torch::max_pool2d(torch::gelu(conv2_(x)), 2);
  x = torch::max_pool2d(torch::gelu(conv3_(x)), 2);
  return linear2_(torch::gelu(linear1_(x.flatten(1))));
}

}  // namespace saber
