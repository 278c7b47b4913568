// LibTorch knows the device type HPU but brings no kernels for it: this file is its backend.
#include "tests/support/pretend_gpu.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/NativeFunctions.h>
#include <ATen/detail/HPUHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace at {
namespace {

// Makes it LibTorch's accelerator, which autograd asks for. LibTorch finds the class by this name.
struct HPUHooks : HPUHooksInterface {
  explicit HPUHooks(HPUHooksArgs) {}
  void init() const override {}
  bool hasHPU() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  const Generator& getDefaultGenerator(DeviceIndex) const override {  // for torch::manual_seed
    static const Generator generator = detail::createCPUGenerator();
    return generator;
  }
};
REGISTER_HPU_HOOKS(HPUHooks);

}  // namespace
}  // namespace at

namespace saber::test {
namespace {

using Stack = std::vector<c10::IValue>;

// The device's memory, mapped twice: at the tensors' addresses, where nothing may touch it, and for the kernels.
class Memory : public c10::Allocator {
 public:
  static Memory& get() {
    static Memory memory;
    return memory;
  }
  c10::DataPtr allocate(std::size_t bytes) override {
    const std::size_t size = std::bit_ceil(std::max<std::size_t>(bytes, 64));
    const std::lock_guard lock(mutex_);
    std::vector<char*>& free = free_[size];
    char* place = device_ + used_;
    if (free.empty()) {
      TORCH_CHECK(used_ + size <= kBytes, "the pretended GPU has no memory left");
      used_ += size;
    } else {
      place = free.back();
      free.pop_back();
    }
    sizes_[place] = size;
    return {place, place, &give_back, c10::Device(c10::kHPU, 0)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(of_kernels(to), of_kernels(from), bytes);
  }
  char* of_kernels(const void* place) const {
    return place == nullptr ? nullptr : kernels_ + (static_cast<const char*>(place) - device_);
  }
  bool holds(const void* place) const { return place >= kernels_ && place < kernels_ + kBytes; }

 private:
  static constexpr std::size_t kBytes = std::size_t{1} << 30;

  Memory() {
    const int file = memfd_create("pretended GPU", 0);
    TORCH_CHECK(file >= 0 && ftruncate(file, kBytes) == 0);
    device_ = static_cast<char*>(mmap(nullptr, kBytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0));
    kernels_ = static_cast<char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0));
    close(file);
  }
  static void give_back(void* place) {
    Memory& memory = get();
    const std::lock_guard lock(memory.mutex_);
    memory.free_[memory.sizes_.at(place)].push_back(static_cast<char*>(place));
  }

  std::mutex mutex_;
  char *device_, *kernels_;
  std::size_t used_ = 0;
  std::map<std::size_t, std::vector<char*>> free_;  // by size
  std::map<void*, std::size_t> sizes_;
};

c10::Stream default_stream() {
  return c10::Stream(c10::Stream::DEFAULT, pretend_gpu());
}

struct Guard : public c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::kHPU; }
  c10::Device exchangeDevice(c10::Device) const override { return pretend_gpu(); }
  c10::Device getDevice() const override { return pretend_gpu(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return default_stream(); }
  c10::Stream exchangeStream(c10::Stream) const override { return default_stream(); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  // There is one stream, and what is asked of it is done at once.
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeEvent(void*) const override {}
  void synchronizeDevice(const c10::DeviceIndex) const override {}
};
C10_REGISTER_GUARD_IMPL(HPU, Guard);

// The same values as a tensor of the CPU. An empty one is of its own, so that an operation may resize it.
at::Tensor alias_of(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return at::empty(tensor.sizes(), tensor.options().device(at::kCPU));
  return at::from_blob(Memory::get().of_kernels(tensor.const_data_ptr()), tensor.sizes(), tensor.strides(),
                       tensor.options().device(at::kCPU));
}

// Those with `alertNotDeterministic` in their CUDA kernels, which the project could come to use.
const std::set<std::string>& refused() {
  static const std::set<std::string> names = {"aten::nll_loss2d_forward",
                                              "aten::nll_loss2d_backward",
                                              "aten::put_",
                                              "aten::kthvalue",
                                              "aten::histc",
                                              "aten::bincount",
                                              "aten::cumsum_out",
                                              "aten::_ctc_loss",
                                              "aten::median",
                                              "aten::grid_sampler_2d_backward"};
  return names;
}

// The arguments of one operation, and what stands for them on the CPU.
class Call {
 public:
  explicit Call(const c10::OperatorHandle& op) : name_(op.operator_name().name) {
    TORCH_CHECK(!refused().contains(name_), name_, " has no deterministic algorithm on a GPU");
  }
  at::Tensor argument(const at::Tensor& tensor) {
    if (!tensor.defined() || tensor.unsafeGetTensorImpl()->is_wrapped_number()) return tensor;
    TORCH_CHECK(tensor.device() == pretend_gpu(), name_, " is given a tensor on ", tensor.device(), " beside one on ",
                pretend_gpu());
    given_.push_back(tensor);
    aliases_.push_back(alias_of(tensor));
    return aliases_.back();
  }
  at::Tensor result(const at::Tensor& tensor) const {
    if (!tensor.defined()) return tensor;
    for (std::size_t i = 0; i < aliases_.size(); ++i) {
      if (!tensor.is_same(aliases_[i])) continue;
      if (tensor.sizes() != given_[i].sizes()) resize(given_[i], tensor);
      return given_[i];
    }
    TORCH_CHECK(!Memory::get().holds(tensor.const_data_ptr()), name_, " gives a view, which was not thought of here");
    return on_the_device(tensor);
  }

 private:
  static at::Tensor on_the_device(const at::Tensor& tensor) {
    const at::Tensor out = at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options().device(pretend_gpu()));
    alias_of(out).copy_(tensor);
    return out;
  }
  // `given` was empty, and the operation gave it a size.
  static void resize(const at::Tensor& given, const at::Tensor& result) {
    const at::Tensor filled = on_the_device(result);
    given.unsafeGetTensorImpl()->set_storage_keep_dtype(filled.storage());
    given.unsafeGetTensorImpl()->set_sizes_and_strides(filled.sizes(), filled.strides());
  }

  std::string name_;
  std::vector<at::Tensor> given_, aliases_;
};

template <class Change>
void change_tensors(c10::IValue& value, Change change) {
  if (value.isTensor()) {
    value = change(value.toTensor());
  } else if (value.isTensorList()) {
    c10::List<at::Tensor> out;
    for (const at::Tensor& tensor : value.toTensorVector()) out.push_back(change(tensor));
    value = std::move(out);
  } else if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> out;
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector())
      out.push_back(tensor ? std::optional(change(*tensor)) : std::nullopt);
    value = std::move(out);
  }
}

void on_the_cpu(const c10::OperatorHandle& op, Stack* stack) {
  Call call(op);
  const std::size_t num_arguments = op.schema().arguments().size(), num_results = op.schema().returns().size();
  for (std::size_t i = stack->size() - num_arguments; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    change_tensors(value, [&](const at::Tensor& tensor) { return call.argument(tensor); });
    if (value.isDevice()) value = c10::Device(c10::kCPU);
  }
  op.callBoxed(stack);
  for (std::size_t i = stack->size() - num_results; i < stack->size(); ++i)
    change_tensors((*stack)[i], [&](const at::Tensor& tensor) { return call.result(tensor); });
}

at::Tensor empty(at::IntArrayRef sizes, std::optional<at::ScalarType> type, std::optional<at::Layout>,
                 std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(sizes, &Memory::get(), c10::DispatchKeySet(c10::DispatchKey::HPU),
                                   type.value_or(at::kFloat), format);
}

at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, std::optional<at::ScalarType> type,
                         std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &Memory::get(), c10::DispatchKeySet(c10::DispatchKey::HPU),
                                           type.value_or(at::kFloat));
}

// The one operation that may have tensors of both devices.
at::Tensor& copy(at::Tensor& to, const at::Tensor& from, bool) {
  const auto readable = [](const at::Tensor& tensor) { return tensor.is_cpu() ? tensor : alias_of(tensor); };
  readable(to).copy_(readable(from));
  return to;
}

at::Tensor moved(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.to(pretend_gpu()) : tensor;
}

at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                       at::IntArrayRef output_padding, std::int64_t groups) {
  const auto bias_alias = bias && bias->defined() ? std::optional(alias_of(*bias)) : std::nullopt;
  return moved(at::convolution(alias_of(x), alias_of(weight), bias_alias, stride, padding, dilation, transposed,
                               output_padding, groups));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(const at::Tensor& grad, const at::Tensor& x,
                                                                    const at::Tensor& weight, at::IntArrayRef stride,
                                                                    at::IntArrayRef padding, at::IntArrayRef dilation,
                                                                    bool transposed, at::IntArrayRef output_padding,
                                                                    std::int64_t groups, std::array<bool, 3> mask) {
  const std::vector<std::int64_t> bias_sizes = {weight.size(0)};
  const auto [of_x, of_weight, of_bias] =
      at::convolution_backward(alias_of(grad), alias_of(x), alias_of(weight), at::IntArrayRef(bias_sizes), stride,
                               padding, dilation, transposed, output_padding, groups, mask);
  return {moved(of_x), moved(of_weight), moved(of_bias)};
}

TORCH_LIBRARY_IMPL(_, HPU, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_the_cpu>());
}

TORCH_LIBRARY_IMPL(aten, HPU, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("copy_", TORCH_FN(copy));
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("convolution_overrideable", TORCH_FN(convolution));
  m.impl("convolution_backward_overrideable", TORCH_FN(convolution_backward));
}

}  // namespace

torch::Device pretend_gpu() {
  return {c10::kHPU, 0};
}

}  // namespace saber::test
