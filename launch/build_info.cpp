#include "launch/build_info.h"

#include <fmt/format.h>
#include <torch/version.h>

#include "comm/mpi_session.h"
#include "comm/nccl_group.h"
#include "data/hdf5_file.h"

namespace saber {

std::string build_description() {
  return fmt::format("saber {}, LibTorch {}, g++ {}", SABER_VERSION, TORCH_VERSION, __VERSION__);
}

std::string build_report() {
  return fmt::format("saber {}\ncompiler   g++ {}\nLibTorch   {}\nMPI        {}\nHDF5       {}\nNCCL       {}\n",
                     SABER_VERSION, __VERSION__, TORCH_VERSION, mpi_version(), hdf5_version(),
                     nccl_version().empty() ? "not in this build" : nccl_version());
}

}  // namespace saber
