// The NCCL backend, when this build has it (else no_nccl.cpp, which refuses).
#pragma once

#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "comm/mpi_session.h"

namespace saber {

// Collective. Throws not_available, with what to do, where there is no NCCL.
c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const MpiSession& session);

}  // namespace saber
