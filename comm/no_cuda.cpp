// Builds without CUDA: nothing asks for a GPU or for NCCL where cuda_in_build() is false (device_choice.h).
#include "comm/cuda.h"
#include "comm/nccl_group.h"
#include "core/error.h"

namespace saber {

bool cuda_in_build() {
  return false;
}

int num_visible_gpus() {
  return 0;
}

std::string uuid_of_gpu(int, const std::string&) {
  throw_broken_promise("no GPU is taken in a build without CUDA");
}

void use_gpu(int, const std::string&) {
  throw_broken_promise("no GPU is taken in a build without CUDA");
}

c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const MpiSession&, const at::Device&, const NcclOptions&) {
  throw_broken_promise("no NCCL is started in a build without CUDA");
}

std::string nccl_version() {
  return {};
}

}  // namespace saber
