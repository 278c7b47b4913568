// Sums over the ranks, and their parts, that go on while this rank computes. Each element's values are combined in rank
// order, so that the bits depend on the world size alone. Progress is made inside the calls of this class only: no
// thread competes with the computation for a core. Values travel in messages; those that lie in memory of the host
// which all ranks see are summed there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <vector>

#include "comm/host_memory.h"
#include "comm/mpi_communicator.h"

namespace saber {

using ReduceKind = c10d::ReduceOp::RedOpType;  // sum, max or min

// total = total (kind) piece, element by element.
void combine(at::Tensor& total, const at::Tensor& piece, ReduceKind kind);

// The values are cut into one share per rank, in rank order, equal but for the last ones. An all-reduce is a
// reduce-scatter, after which each rank's own share holds the ranks' combined values, and an all-gather, after which
// every share holds what its rank had there.
enum class Exchange { all_reduce, reduce_scatter, all_gather };

class MpiReductions {
 public:
  // Collective. chunk_elements: that one round of messages moves at most; scratch memory holds a few rounds.
  MpiReductions(int rank, int world_size, std::int64_t chunk_elements);
  ~MpiReductions();
  MpiReductions(const MpiReductions&) = delete;
  MpiReductions& operator=(const MpiReductions&) = delete;

  // Starts the exchange of `values` (contiguous, on the CPU) in place; returns its ticket. Ranks must start the same
  // ones in the same order. The values belong to the exchange until it is finished. result: of a reduce-scatter, as
  // long as a share; the values stay as they are, unless it is the own share itself.
  std::int64_t start(Exchange exchange, const at::Tensor& values, ReduceKind kind, const at::Tensor& result = {});
  // Does all that can be done without waiting, for all exchanges in flight.
  void progress();
  // From now on an all-reduce of values in `memory` takes place there; all ranks then give the same part of it.
  void use(const std::shared_ptr<HostMemory>& memory) { memories_.push_back(memory); }
  bool finished(std::int64_t ticket) const { return ticket <= last_finished_; }
  // Until that exchange, and hence all before it, are finished.
  void finish(std::int64_t ticket);

 private:
  struct Chunk;
  enum class Stage { reduce, gather };

  std::shared_ptr<HostMemory> memory_of(Exchange exchange, const at::Tensor& values);
  void sum_in_memory(Chunk& chunk);
  void open(Chunk& chunk);
  void reduce(Chunk& chunk);
  void open_gather(Chunk& chunk);
  std::byte* piece(Chunk& chunk, int rank, std::int64_t elements) const;
  void send(Chunk& chunk, const std::byte* data, std::int64_t elements, int to, int tag);
  void receive(Chunk& chunk, std::byte* data, std::int64_t elements, int from, int tag);
  bool advance(Chunk& chunk, bool may_gather);
  void close_finished();

  Communicator communicator_;
  int rank_, size_;
  std::int64_t chunk_elements_;
  std::int64_t last_started_ = 0, last_finished_ = 0;
  std::deque<std::unique_ptr<Chunk>> active_, waiting_;
  std::vector<std::weak_ptr<HostMemory>> memories_;
  std::vector<std::vector<std::byte>> spare_;  // scratch, kept: fresh pages cost more than the copies
};

}  // namespace saber
