// Turns MPI's status codes into errors. Together with the files mpi_*.cpp the only place that knows mpi.h.
#pragma once

#include <mpi.h>

#include <array>
#include <string>

#include "core/error.h"

namespace saber {

inline void check_mpi(int status, const char* call) {
  if (status == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  if (MPI_Error_string(status, text.data(), &length) != MPI_SUCCESS) length = 0;
  throw Error(ErrorKind::io,
              std::string(call) + " failed: " + std::string(text.data(), static_cast<std::size_t>(length)), "MPI");
}

}  // namespace saber

#define SABER_MPI(call) ::saber::check_mpi((call), #call)
