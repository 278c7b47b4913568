// Our c10d backend over MPI, for tensors on the CPU. An all-reduce goes on in the background (mpi_reductions.h) until
// its Work is waited for; every other operation blocks, and the Work it returns is completed.
// Reductions (sum, max, min; float64, float32, int64, int32, uint8) combine each element's values in rank order, so
// that the bits depend on the world size alone, and every rank has the same. MPI's own reductions promise neither.
#pragma once

#include <cstdint>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "comm/mpi_session.h"

namespace saber {

// Elements that one MPI call moves at most. Also the size of the scratch memory.
inline constexpr std::int64_t kMpiChunkElements = std::int64_t{1} << 22;

// Collective. The backend owns a duplicate of the world's communicator, must be gone before `session`, and offers
// broadcast, allreduce, allgather, reduce_scatter, alltoall_base and barrier; c10d refuses the others. Tensors must be
// contiguous and on the CPU. chunk_elements: from 1 to 2^28, the same on all ranks.
c10::intrusive_ptr<c10d::Backend> make_mpi_backend(const MpiSession& session,
                                                   std::int64_t chunk_elements = kMpiChunkElements);

}  // namespace saber
