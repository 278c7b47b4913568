// The process group of a run. c10d::ProcessGroup is the only group type; this file makes one and adds what it lacks.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <vector>

#include "comm/message_gather.h"
#include "comm/mpi_session.h"
#include "core/config_schema.h"
#include "core/error.h"

namespace saber {

using ProcessGroupPtr = c10::intrusive_ptr<c10d::ProcessGroup>;

struct CommSettings {
  std::string backend = "auto";          // comm.backend: auto | mpi | nccl; auto picks by device
  std::string reward_gather = "auto";    // comm.reward_gather: auto | mpi | nccl; auto is the backend
  std::string interface = {};            // comm.interface: see comm/network_interface.h
  std::int64_t first_deadline_s = 1800;  // comm.first_deadline_s
  std::int64_t deadline_s = 600;         // comm.deadline_s
  bool check_order = false;              // comm.check_order

  void declare(Schema& schema);
};

// Whether tensors on `device` travel over NCCL: on a GPU. Throws bad_input when the backend (auto | mpi | nccl) carries
// none of them.
bool travels_over_nccl(const std::string& backend, const at::Device& device);

// Collective. Tensors on the CPU go over MPI, those on `device`, where that is this rank's GPU (own_device.h), over
// NCCL. Throws bad_input when settings.backend does not suit the device, and as make_nccl_backend.
ProcessGroupPtr make_process_group(const MpiSession& session, const CommSettings& settings,
                                   const at::Device& device = at::kCPU);

// The device whose backend of the group gathers rewards, by comm.reward_gather: this rank's GPU for nccl, else the CPU.
// Throws bad_input when the setting asks for NCCL and the group has none.
c10::Device carrier_of_rewards(const c10d::ProcessGroup& group, const CommSettings& settings);

// Sums `tensor` (contiguous) over all ranks in place; the order of summation is fixed for a given world size and tensor
// size. Blocks.
void all_reduce_sum(c10d::ProcessGroup& group, at::Tensor& tensor);

// Collective. Zeros [elements] on `options`' device, in the memory in which the group sums fastest: on the CPU, memory
// that the ranks of one host share. All ranks then sum the same part of it at a time.
at::Tensor zeros_to_sum(c10d::ProcessGroup& group, std::int64_t elements, const at::TensorOptions& options);

// Copies rank 0's values of `tensor` (contiguous) to all ranks. Blocks.
void broadcast_from_root(c10d::ProcessGroup& group, at::Tensor& tensor);

// Starts the sum of `tensor` (contiguous) over all ranks, in place, and returns while it goes on; its values must not
// be touched before the Work has been waited for. All ranks start the same sums in the same order.
c10::intrusive_ptr<c10d::Work> start_all_reduce_sum(c10d::ProcessGroup& group, at::Tensor& tensor);

// Every rank's values, in rank order; `most`: that a rank may give, the same number on all ranks (MessageGather).
// Blocks.
template <class T>
std::vector<std::vector<T>> all_gather_values(c10d::ProcessGroup& group, const std::vector<T>& mine,
                                              std::int64_t most) {
  ensure(static_cast<std::int64_t>(mine.size()) <= most, "a rank gives at most as many values as it said");
  MessageGather gather(group);
  std::copy(mine.begin(), mine.end(), gather.prepare<T>(most).begin());
  gather.gather<T>(static_cast<std::int64_t>(mine.size()));
  std::vector<std::vector<T>> out;
  for (std::int64_t r = 0; r < group.getSize(); ++r) {
    const std::span<const T> theirs = gather.of_rank<T>(r);
    out.emplace_back(theirs.begin(), theirs.end());
  }
  return out;
}

}  // namespace saber
