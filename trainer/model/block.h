// One pre-norm transformer block whose attention logits take an additive mask (docs/model.md, eq. 10).
#pragma once

#include <torch/torch.h>

#include "trainer/model/model_settings.h"

namespace saber {

class BlockImpl : public torch::nn::Module {
 public:
  explicit BlockImpl(const ModelSettings& settings);

  // x [batch, length, d]; mask [batch, length, length] shared by all heads, or undefined; later: bool [length, length],
  // true where column > row.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& mask, const torch::Tensor& later);

 private:
  std::int64_t heads_;
  torch::nn::LayerNorm norm1_{nullptr}, norm2_{nullptr};
  torch::nn::Linear qkv_{nullptr}, out_{nullptr}, up_{nullptr}, down_{nullptr};
};
TORCH_MODULE(Block);

}  // namespace saber
