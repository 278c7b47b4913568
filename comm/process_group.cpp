#include "comm/process_group.h"

#include <algorithm>

#include "comm/mpi_backend.h"
#include "comm/nccl_group.h"
#include "core/narrow.h"

namespace saber {

void CommSettings::declare(Schema& schema) {
  schema.choice(backend, "comm.backend", "auto", {"auto", "mpi", "nccl"},
                "what carries tensors between ranks: mpi for tensors on the CPU, nccl for GPUs, auto picks by device");
}

ProcessGroupPtr make_process_group(const MpiSession& session, const CommSettings& settings) {
  const bool nccl = settings.backend == "nccl";
  const auto backend = nccl ? make_nccl_backend(session) : make_mpi_backend(session);
  auto group = c10::make_intrusive<c10d::ProcessGroup>(session.rank(), session.world_size());
  const auto type = nccl ? c10d::ProcessGroup::BackendType::NCCL : c10d::ProcessGroup::BackendType::CUSTOM;
  group->setBackend(nccl ? c10::DeviceType::CUDA : c10::DeviceType::CPU, type, backend);
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
