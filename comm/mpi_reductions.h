// All-reduces that go on while this rank computes. Each element's values are combined in rank order, so that the bits
// depend on the world size alone. Progress is made inside the calls of this class only: no thread competes with the
// computation for a core.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <vector>

#include "comm/mpi_communicator.h"

namespace saber {

using ReduceKind = c10d::ReduceOp::RedOpType;  // sum, max or min

// total = total (kind) piece, element by element.
void combine(at::Tensor& total, const at::Tensor& piece, ReduceKind kind);

class MpiReductions {
 public:
  // Collective. chunk_elements: that one exchange covers at most.
  MpiReductions(int rank, int world_size, std::int64_t chunk_elements);
  ~MpiReductions();
  MpiReductions(const MpiReductions&) = delete;
  MpiReductions& operator=(const MpiReductions&) = delete;

  // Reduces `tensor` (contiguous, on the CPU) in place; returns its ticket. Ranks must start the same reductions in the
  // same order. The values belong to the reduction until it is finished.
  std::int64_t start(const at::Tensor& tensor, ReduceKind kind);
  // Does what can be done without waiting, for all reductions in flight.
  void progress();
  bool finished(std::int64_t ticket) const { return ticket <= last_finished_; }
  // Until that reduction, and hence all before it, are finished.
  void finish(std::int64_t ticket);

 private:
  struct Chunk;
  enum class Stage { exchange, gather };

  void open(Chunk& chunk);
  void reduce(Chunk& chunk);
  void open_gather(Chunk& chunk);
  at::Tensor piece(Chunk& chunk, int rank, std::int64_t elements);
  void advance(Chunk& chunk, bool may_gather);

  Communicator communicator_;
  int rank_, size_;
  std::int64_t chunk_elements_;
  std::int64_t last_started_ = 0, last_finished_ = 0;
  std::deque<std::unique_ptr<Chunk>> active_, waiting_;
  std::vector<std::vector<std::byte>> spare_;  // scratch, kept: fresh pages cost more than the copies
};

}  // namespace saber
