// The process group of a run. c10d::ProcessGroup is the only group type; this file makes one and adds what it lacks.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <vector>

#include "comm/mpi_session.h"
#include "core/config_schema.h"

namespace saber {

using ProcessGroupPtr = c10::intrusive_ptr<c10d::ProcessGroup>;

struct CommSettings {
  std::string backend;         // comm.backend: auto | mpi | nccl; auto is mpi where tensors are on the CPU
  std::string interface = {};  // comm.interface: see comm/network_interface.h

  void declare(Schema& schema);
};

// Collective. Tensors on the CPU go over MPI, with the backend nccl those on this rank's GPU (getBoundDeviceId()) over
// NCCL. Throws not_available, with what to do, when the backend is not part of this build or there is not one GPU for
// each rank.
ProcessGroupPtr make_process_group(const MpiSession& session, const CommSettings& settings);

// Sums `tensor` (contiguous) over all ranks in place; the order of summation is fixed for a given world size and tensor
// size. Blocks.
void all_reduce_sum(c10d::ProcessGroup& group, at::Tensor& tensor);

// Copies rank 0's values of `tensor` (contiguous) to all ranks. Blocks.
void broadcast_from_root(c10d::ProcessGroup& group, at::Tensor& tensor);

// Every rank's bytes, of any length, in rank order. Two collectives: lengths, then the payload. Blocks.
std::vector<std::vector<std::byte>> all_gather_bytes(c10d::ProcessGroup& group, std::span<const std::byte> mine);

// all_gather_bytes for a vector of trivially copyable values.
template <class T>
std::vector<std::vector<T>> all_gather_values(c10d::ProcessGroup& group, const std::vector<T>& mine) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::vector<std::vector<T>> out;
  for (const std::vector<std::byte>& bytes : all_gather_bytes(group, std::as_bytes(std::span<const T>(mine)))) {
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    out.push_back(std::move(values));
  }
  return out;
}

}  // namespace saber
