// Memory that all ranks of a run see, where they share a host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/mpi_session.h"

namespace saber {

// A block of memory per rank, which every rank reads and writes. Two counters of each rank tell the others how far it
// has got with what they do together there, turn after turn.
class HostMemory {
 public:
  // Collective; all ranks are on one host. bytes: of a block, > 0, the same on all ranks. Blocks are zero. Throws on
  // all ranks alike (AgreedError) when one of them cannot have it. Each rank lets go of it by itself.
  HostMemory(const MpiSession& session, std::int64_t bytes);

  std::byte* block(int rank) const;
  bool holds(const void* address) const;  // in this rank's block
  // The same place in another rank's block as `mine` in this rank's.
  void* counterpart(void* mine, int rank) const;

  // This rank's values of its next turn may be used by all; returns the turn's number, from 1.
  std::int64_t offer();
  // Whether all ranks have offered that turn, and this rank has finished the one before.
  bool may_begin(std::int64_t turn) const;
  // This rank has done its part of that turn, the next one to be finished.
  void finish(std::int64_t turn);
  bool all_finished(std::int64_t turn) const;

 private:
  struct Counters;
  Counters& counters(int rank) const;
  void map(const std::string& name);

  struct Unmap {
    std::int64_t bytes = 0;
    void operator()(std::byte* mapping) const;
  };
  using Mapping = std::unique_ptr<std::byte, Unmap>;

  int rank_;
  std::int64_t bytes_;                                 // of a rank's mapping
  std::int64_t last_offered_ = 0, last_finished_ = 0;  // by this rank
  std::vector<Mapping> mappings_;                      // of each rank: counters, then its block
};

}  // namespace saber
