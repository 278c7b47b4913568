#include "comm/nccl_group.h"
#include "core/error.h"

namespace saber {

c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const MpiSession&, const NcclOptions&) {
  throw Error(ErrorKind::not_available, "this build has no NCCL", "comm.backend: nccl",
              "set comm.backend to auto or mpi, which run on the CPU; or, for GPUs, run `tools/setup --gpu` and build "
              "with `tools/build -DSABER_CUDA=ON`");
}

std::string nccl_version() {
  return {};
}

}  // namespace saber
