#include "trainer/model/precision.h"

#include <ATen/autocast_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <optional>

#include "core/error.h"

namespace saber {
namespace {

// LibTorch's dispatcher asks it for products as long as a Bf16Products of Bf16Kernel::float32 lives. It is there for
// devices that LibTorch does not know, and no other part of the program uses it.
constexpr auto kInFloat32 = c10::DispatchKey::AutocastPrivateUse1;

void set_in_float32(bool on) {
  c10::impl::tls_set_dispatch_key_excluded(kInFloat32, !on);  // as LibTorch leaves it
  c10::impl::tls_set_dispatch_key_included(kInFloat32, on);
}

// The gradient passes unchanged: those of a parameter are summed in float32.
struct Round : public torch::autograd::Function<Round> {
  static torch::Tensor forward(torch::autograd::AutogradContext*, const torch::Tensor& x) {
    return x.to(torch::kBFloat16).to(torch::kFloat32);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list& gradients) {
    return gradients;
  }
};

// As float32, what a bfloat16 kernel would read.
torch::Tensor rounded(const torch::Tensor& x) {
  if (x.scalar_type() == torch::kBFloat16) return x.to(torch::kFloat32);
  ensure(x.scalar_type() == torch::kFloat32, "bf16 products are of float32 or bfloat16 tensors");
  return Round::apply(x);
}

torch::Tensor rounded_matmul(const torch::Tensor& a, const torch::Tensor& b) {
  const c10::impl::ExcludeDispatchKeyGuard below(kInFloat32);
  return torch::matmul(rounded(a), rounded(b)).to(torch::kBFloat16);
}

torch::Tensor rounded_linear(const torch::Tensor& x, const torch::Tensor& weight,
                             const std::optional<torch::Tensor>& bias) {
  const c10::impl::ExcludeDispatchKeyGuard below(kInFloat32);
  const bool has_bias = bias && bias->defined();
  return torch::linear(rounded(x), rounded(weight), has_bias ? rounded(*bias) : torch::Tensor()).to(torch::kBFloat16);
}

// What torch::nn::Linear makes of a matrix.
torch::Tensor rounded_addmm(const torch::Tensor& bias, const torch::Tensor& x, const torch::Tensor& weight,
                            const at::Scalar& beta, const at::Scalar& alpha) {
  const c10::impl::ExcludeDispatchKeyGuard below(kInFloat32);
  return torch::addmm(rounded(bias), rounded(x), rounded(weight), beta, alpha).to(torch::kBFloat16);
}

}  // namespace

TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFallthrough());
}

TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, library) {
  library.impl("matmul", TORCH_FN(rounded_matmul));
  library.impl("linear", TORCH_FN(rounded_linear));
  library.impl("addmm", TORCH_FN(rounded_addmm));
}

Bf16Kernel bf16_kernel_of(c10::DeviceType device) {
#ifdef __x86_64__
  if (device == c10::DeviceType::CPU && __builtin_cpu_supports("avx512bf16") == 0) return Bf16Kernel::float32;
#endif
  return Bf16Kernel::bfloat16;
}

Bf16Products::Bf16Products(bool on, c10::DeviceType device, Bf16Kernel kernel)
    : on_(on), device_(device), kernel_(kernel) {
  if (!on_) return;
  if (kernel_ == Bf16Kernel::float32) {
    set_in_float32(true);
  } else {
    at::autocast::set_autocast_dtype(device_, at::kBFloat16);
    at::autocast::set_autocast_enabled(device_, true);
    at::autocast::increment_nesting();
  }
}

Bf16Products::~Bf16Products() {
  if (!on_) return;
  if (kernel_ == Bf16Kernel::float32) {
    set_in_float32(false);
  } else {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, false);
  }
}

bool Bf16Products::active(c10::DeviceType device) {
  return at::autocast::is_autocast_enabled(device) || c10::impl::tls_is_dispatch_key_included(kInFloat32);
}

}  // namespace saber
