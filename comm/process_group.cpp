#include "comm/process_group.h"

#include <algorithm>

#include "comm/mpi_backend.h"
#include "comm/nccl_group.h"
#include "core/narrow.h"

namespace saber {

void CommSettings::declare(Schema& schema) {
  schema.choice(backend, "comm.backend", "auto", {"auto", "mpi", "nccl"},
                "what carries tensors between ranks: mpi for tensors on the CPU, nccl for GPUs, auto picks by device");
  schema.text(
      interface, "comm.interface", "",
      "network interface (eth0) or address of rank 0 over which the ranks of an NCCL group find each other, and "
      "for NCCL's sockets; empty: the address of rank 0's host name, or loopback on one host");
}

ProcessGroupPtr make_process_group(const MpiSession& session, const CommSettings& settings) {
  auto group = c10::make_intrusive<c10d::ProcessGroup>(session.rank(), session.world_size());
  if (settings.backend == "nccl") {
    const auto nccl = make_nccl_backend(session, {.interface = settings.interface});
    group->setBoundDeviceId(nccl->getBoundDeviceId());  // first, since setBackend hands the group's device on
    group->setBackend(c10::DeviceType::CUDA, c10d::ProcessGroup::BackendType::NCCL, nccl);
  }
  group->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::BackendType::CUSTOM, make_mpi_backend(session));
  return group;
}

void all_reduce_sum(c10d::ProcessGroup& group, at::Tensor& tensor) {
  std::vector<at::Tensor> tensors{tensor};
  group.allreduce(tensors)->wait();
}

void broadcast_from_root(c10d::ProcessGroup& group, at::Tensor& tensor) {
  std::vector<at::Tensor> tensors{tensor};
  group.broadcast(tensors)->wait();
}

std::vector<std::vector<std::byte>> all_gather_bytes(c10d::ProcessGroup& group, std::span<const std::byte> mine) {
  const std::int64_t world = group.getSize();
  at::Tensor length = at::full({1}, size_of(mine), at::kLong);
  at::Tensor lengths = at::empty({world}, at::kLong);
  group._allgather_base(lengths, length)->wait();
  const std::int64_t longest = lengths.max().item<std::int64_t>();

  at::Tensor padded = at::zeros({longest}, at::kByte);
  std::copy(mine.begin(), mine.end(), static_cast<std::byte*>(padded.data_ptr()));
  at::Tensor all = at::empty({world, longest}, at::kByte);
  group._allgather_base(all, padded)->wait();

  std::vector<std::vector<std::byte>> out;
  for (std::int64_t r = 0; r < world; ++r) {
    const std::byte* const start = static_cast<const std::byte*>(all.data_ptr()) + r * longest;
    out.emplace_back(start, start + lengths[r].item<std::int64_t>());
  }
  return out;
}

}  // namespace saber
