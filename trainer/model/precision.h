// bf16 training: matrix products in bfloat16, everything that is summed, compared or kept in float32.
#pragma once

#include <torch/torch.h>

namespace saber {

// What multiplies bfloat16: LibTorch's kernels, or float32 products of values that were rounded to bfloat16, whose
// results are rounded, too. Both sum in float32. Without instructions for bfloat16 a CPU is several times faster in
// float32 (bench/README.md).
enum class Bf16Kernel { bfloat16, float32 };
Bf16Kernel bf16_kernel_of(c10::DeviceType device);

// While it lives, and `on`, matrix products and linear layers of float32 tensors on such a device, of this thread,
// round their inputs to bfloat16 and give bfloat16; those of bfloat16 tensors, too. One at a time per thread.
class Bf16Products {
 public:
  Bf16Products(bool on, c10::DeviceType device) : Bf16Products(on, device, bf16_kernel_of(device)) {}
  Bf16Products(bool on, c10::DeviceType device, Bf16Kernel kernel);
  ~Bf16Products();
  Bf16Products(const Bf16Products&) = delete;
  Bf16Products& operator=(const Bf16Products&) = delete;

  static bool active(c10::DeviceType device);

 private:
  bool on_;
  c10::DeviceType device_;
  Bf16Kernel kernel_;
};

// Logits before a softmax: float32 where they came out of a bfloat16 product, unchanged otherwise.
inline torch::Tensor full_precision(const torch::Tensor& logits) {
  return logits.scalar_type() == torch::kBFloat16 ? logits.to(torch::kFloat32) : logits;
}

}  // namespace saber
