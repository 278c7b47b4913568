#include "trainer/model/block.h"

#include <cmath>
#include <limits>

namespace saber {
namespace nn = torch::nn;

BlockImpl::BlockImpl(const ModelSettings& settings) : heads_(settings.heads) {
  const std::int64_t d = settings.width;
  norm1_ = register_module("norm1", nn::LayerNorm(nn::LayerNormOptions({d})));
  // Without bias: a bias of the keys changes nothing but would collect noise.
  qkv_ = register_module("qkv", nn::Linear(nn::LinearOptions(d, 3 * d).bias(false)));
  out_ = register_module("out", nn::Linear(d, d));
  norm2_ = register_module("norm2", nn::LayerNorm(nn::LayerNormOptions({d})));
  up_ = register_module("up", nn::Linear(d, 4 * d));
  down_ = register_module("down", nn::Linear(4 * d, d));
}

torch::Tensor BlockImpl::forward(const torch::Tensor& x, const torch::Tensor& mask, const torch::Tensor& later) {
  const std::int64_t batch = x.size(0), length = x.size(1), d = x.size(2), head_width = d / heads_;
  const std::vector<torch::Tensor> qkv =
      qkv_(norm1_(x)).view({batch, length, 3, heads_, head_width}).permute({2, 0, 3, 1, 4}).unbind(0);
  torch::Tensor scores = torch::matmul(qkv[0], qkv[1].transpose(2, 3)) / std::sqrt(static_cast<double>(head_width));
  if (mask.defined()) scores = scores + mask.unsqueeze(1);
  const torch::Tensor weights = scores.masked_fill(later, -std::numeric_limits<double>::infinity()).softmax(-1);
  const torch::Tensor read = torch::matmul(weights, qkv[2]).transpose(1, 2).reshape({batch, length, d});
  const torch::Tensor attended = x + out_(read);
  return attended + down_(torch::gelu(up_(norm2_(attended))));
}

}  // namespace saber
