// Our c10d backend over MPI, for tensors on the CPU. Sums over the ranks and their halves, reduce-scatter and
// all-gather, go on in the background (mpi_reductions.h) until their Work is waited for, and may be in place as NCCL's;
// every other operation blocks, and the Work it returns is completed.
// Reductions (sum, max, min; float64, float32, int64, int32, uint8) combine each element's values in rank order, so
// that the bits depend on the world size alone, and every rank has the same. MPI's own reductions promise neither.
#pragma once

#include <cstddef>
#include <cstdint>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "comm/mpi_session.h"

namespace saber {

// Elements that one broadcast, or one round of messages of all ranks, moves at most. It bounds the scratch memory; its
// size makes no difference that could be measured (bench/README.md).
inline constexpr std::int64_t kMpiChunkElements = std::int64_t{1} << 20;

class MpiBackend : public c10d::Backend {
 public:
  // Every rank's words of 8 bytes, in rank order, without a tensor in between. Blocks.
  virtual void all_gather_words(const std::byte* mine, std::byte* all, std::int64_t words) = 0;
  // Collective. Zeros [elements], alike on all ranks, whose all-reduces (of any part, the same on all ranks) need no
  // messages where the ranks share a host: they lie in memory that all of them see. Elsewhere, and with a warning where
  // the host has too little of it, they are ordinary memory.
  virtual at::Tensor shared_zeros(std::int64_t elements, at::ScalarType type) = 0;

 protected:
  using Backend::Backend;
};

// Collective. The backend owns a duplicate of the world's communicator, must be gone before `session`, and offers
// broadcast, allreduce, _allgather_base, _reduce_scatter_base, alltoall_base and barrier; c10d refuses the others.
// Tensors must be contiguous and on the CPU. chunk_elements: from 1 to 2^28, the same on all ranks.
c10::intrusive_ptr<MpiBackend> make_mpi_backend(const MpiSession& session,
                                                std::int64_t chunk_elements = kMpiChunkElements);

}  // namespace saber
