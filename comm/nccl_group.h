// The NCCL backend, in builds that have CUDA (else no_cuda.cpp).
#pragma once

#include <chrono>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "comm/mpi_session.h"

namespace saber {

struct NcclOptions {
  // Interface or address of the rendezvous and of NCCL's own sockets; empty: see make_store, and NCCL chooses.
  std::string interface = {};
  std::chrono::milliseconds first_timeout = std::chrono::minutes(10);  // for meeting and the first operation
  std::chrono::milliseconds timeout = std::chrono::minutes(5);         // for each operation after that
};

// Collective. A backend for tensors on `gpu`, this rank's own (own_device.h), which is its getBoundDeviceId(). One
// all-reduce has been done when this returns, so that what keeps NCCL from working shows here. An operation that takes
// longer than its timeout ends the process. Must be gone before `session`.
// Throws on all ranks: bad_input for an interface that is not there; io where NCCL did not start. Ends all ranks where
// it did not start in time.
c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const MpiSession& session, const at::Device& gpu,
                                                    const NcclOptions& options);

// Of the NCCL library that this process runs with, "2.28.9"; empty in a build without it.
std::string nccl_version();

}  // namespace saber
