// bf16 training: matrix products in bfloat16, everything that is summed, compared or kept in float32.
#pragma once

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

namespace saber {

// While it lives, and `on`, matrix products of tensors on such a device that this thread makes round their inputs to
// bfloat16 (LibTorch's autocast).
class Bf16Products {
 public:
  Bf16Products(bool on, c10::DeviceType device) : on_(on), device_(device) {
    if (!on_) return;
    at::autocast::set_autocast_dtype(device_, at::kBFloat16);
    at::autocast::set_autocast_enabled(device_, true);
    at::autocast::increment_nesting();
  }
  ~Bf16Products() {
    if (!on_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, false);
  }
  Bf16Products(const Bf16Products&) = delete;
  Bf16Products& operator=(const Bf16Products&) = delete;

 private:
  bool on_;
  c10::DeviceType device_;
};

// Logits before a softmax: float32 where they came out of a bfloat16 product, unchanged otherwise.
inline torch::Tensor full_precision(const torch::Tensor& logits) {
  return logits.scalar_type() == torch::kBFloat16 ? logits.to(torch::kFloat32) : logits;
}

}  // namespace saber
