// A communicator of our own, and elements as MPI sees them.
#pragma once

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <cstddef>
#include <string>

#include "comm/mpi_check.h"

namespace saber {

// Owns a duplicate of the world's communicator, so that its messages meet no one else's.
class Communicator {
 public:
  Communicator() {
    SABER_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &handle_));
    SABER_MPI(MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN));
  }
  ~Communicator() {
    int finalized = 0;
    if (MPI_Finalized(&finalized) == MPI_SUCCESS && finalized == 0) MPI_Comm_free(&handle_);
  }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  MPI_Comm get() const { return handle_; }

 private:
  MPI_Comm handle_ = MPI_COMM_NULL;
};

[[noreturn]] inline void refuse(const std::string& operation, const std::string& reason, const std::string& hint = {}) {
  throw Error(ErrorKind::internal, reason, "mpi " + operation, hint);
}

// MPI only moves elements here, so that their size is all it has to know.
inline MPI_Datatype carrier_of(const at::Tensor& tensor, const std::string& operation) {
  switch (tensor.element_size()) {
    case 1:
      return MPI_UINT8_T;
    case 2:
      return MPI_UINT16_T;
    case 4:
      return MPI_UINT32_T;
    case 8:
      return MPI_UINT64_T;
    default:
      refuse(operation, fmt::format("cannot move elements of {} bytes", tensor.element_size()));
  }
}

inline std::byte* bytes_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data_ptr());
}

}  // namespace saber
