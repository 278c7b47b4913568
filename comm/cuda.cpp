#include "comm/cuda.h"

#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAFunctions.h>
#include <fmt/format.h>

#include <iterator>

#include "comm/torch_error.h"
#include "core/narrow.h"

namespace saber {
namespace {
constexpr const char* kCudaHint = "see whether nvidia-smi works there";
}

bool cuda_in_build() {
  return true;
}

int num_visible_gpus() {
  return c10::cuda::device_count();
}

std::string uuid_of_gpu(int gpu, const std::string& place) {
  return without_trace(place, kCudaHint, [&] {
    const auto& bytes = at::cuda::getDeviceProperties(narrow<c10::DeviceIndex>(gpu))->uuid.bytes;
    std::string out = "GPU";
    for (std::size_t i = 0; i < std::size(bytes); ++i) {
      if (i == 0 || (i >= 4 && i <= 10 && i % 2 == 0)) out += '-';
      out += fmt::format("{:02x}", static_cast<unsigned char>(bytes[i]));
    }
    return out;
  });
}

void use_gpu(int gpu, const std::string& place) {
  without_trace(place, kCudaHint, [&] { c10::cuda::set_device(narrow<c10::DeviceIndex>(gpu), /*force=*/true); });
}

}  // namespace saber
