// The MPI world of this process: started by mpirun, srun or alone (then a world of one). Placement comes from MPI
// itself.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/operations.h"

namespace saber {

class MpiSession {
 public:
  // Calls MPI_Init_thread (multiple). At most one per process; the destructor finalizes.
  MpiSession(int* argc, char*** argv);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int world_size() const { return world_size_; }
  int local_rank() const { return local_rank_; }  // among the ranks that share this host's memory
  int num_local_ranks() const { return num_local_ranks_; }
  const std::string& host() const { return host_; }
  bool is_root() const { return rank_ == 0; }

  // What this rank does among the collectives of all communicators, for the watchdog.
  Operations& operations() const { return operations_; }

  // Runs `work` on rank 0 only. When it throws, every rank throws: rank 0 the error itself, the others an AgreedError.
  // What it returns is sent to all ranks. This is how input is checked once and all ranks leave together. kind: what
  // the watchdog calls it; static storage.
  std::string on_root(const std::function<std::string()>& work, const char* kind = "work of rank 0") const;
  // Runs `work` on every rank; when it throws on some rank, every rank throws: those their own error, the others an
  // AgreedError. Collective.
  void on_all(const std::function<void()>& work) const;
  void barrier() const;
  // Every rank's text, of any length, in rank order. Collective.
  std::vector<std::string> all_gather(const std::string& mine) const;

  // Ends all ranks at once, for errors that the other ranks cannot know of. Never returns.
  [[noreturn]] void abort(int exit_status) const;

  // Threads that this rank may use: cores of its affinity mask / local ranks that share the mask, at least 1. Warns on
  // rank 0 when a rank is bound to one core of a larger host while cores are left over.
  int num_threads() const;

 private:
  int rank_ = 0;
  int world_size_ = 1;
  int local_rank_ = 0;
  int num_local_ranks_ = 1;
  int num_threads_ = 1;
  int num_wasting_ranks_ = 0;  // bound to one core while their host has unused ones
  std::string host_;
  mutable Operations operations_;
};

// Name and version of the MPI library, "Open MPI v4.1.4". Works without a session.
std::string mpi_version();

}  // namespace saber
