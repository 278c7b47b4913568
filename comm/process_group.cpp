#include "comm/process_group.h"

#include <algorithm>

#include "comm/mpi_backend.h"
#include "comm/nccl_group.h"
#include "core/error.h"
#include "core/narrow.h"

namespace saber {

void CommSettings::declare(Schema& schema) {
  schema.choice(backend, "comm.backend", "auto", {"auto", "mpi", "nccl"},
                "what carries tensors between ranks: mpi for device cpu, nccl for cuda; auto is the one that fits");
  schema.text(
      interface, "comm.interface", "",
      "network interface (eth0) or address of rank 0 over which the ranks of an NCCL group find each other, and "
      "for NCCL's sockets; empty: the address of rank 0's host name, or loopback on one host");
  schema.integer(first_deadline_s, "comm.first_deadline_s", first_deadline_s, 1, 86400 * 365, "s",
                 "a rank that waits longer for others before the first step is done names them and ends, status 3");
  schema.integer(deadline_s, "comm.deadline_s", deadline_s, 1, 86400 * 365, "s",
                 "the same after the first step of train; in other commands for ranks that give no sign of life");
  schema.flag(check_order, "comm.check_order", false,
              "compare kind, size and type of each operation over all ranks before it starts; to find bugs");
}

bool travels_over_nccl(const std::string& backend, const at::Device& device) {
  if (device.is_cpu() && backend == "nccl") {
    throw_bad_input("carries tensors between GPUs, but the run computes on the CPU", "comm.backend: nccl",
                    "set comm.backend to auto or mpi; or device to cuda, which says what GPUs lack here");
  }
  if (!device.is_cpu() && backend == "mpi") {
    throw_bad_input("carries tensors on the CPU, but the run computes on " + device.str(), "comm.backend: mpi",
                    "set comm.backend to auto or nccl, or device to cpu");
  }
  return !device.is_cpu();
}

ProcessGroupPtr make_process_group(const MpiSession& session, const CommSettings& settings, const at::Device& device) {
  auto group = c10::make_intrusive<c10d::ProcessGroup>(session.rank(), session.world_size());
  if (travels_over_nccl(settings.backend, device)) {
    const auto nccl = make_nccl_backend(session, device,
                                        {.interface = settings.interface,
                                         .first_timeout = std::chrono::seconds(settings.first_deadline_s),
                                         .timeout = std::chrono::seconds(settings.deadline_s)});
    group->setBoundDeviceId(nccl->getBoundDeviceId());  // first, since setBackend hands the group's device on
    group->setBackend(c10::DeviceType::CUDA, c10d::ProcessGroup::BackendType::NCCL, nccl);
  }
  group->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::BackendType::CUSTOM, make_mpi_backend(session));
  return group;
}

void all_reduce_sum(c10d::ProcessGroup& group, at::Tensor& tensor) {
  start_all_reduce_sum(group, tensor)->wait();
}

void broadcast_from_root(c10d::ProcessGroup& group, at::Tensor& tensor) {
  std::vector<at::Tensor> tensors{tensor};
  group.broadcast(tensors)->wait();
}

c10::intrusive_ptr<c10d::Work> start_all_reduce_sum(c10d::ProcessGroup& group, at::Tensor& tensor) {
  std::vector<at::Tensor> tensors{tensor};
  return group.allreduce(tensors);
}

std::vector<std::vector<std::byte>> all_gather_bytes(c10d::ProcessGroup& group, std::span<const std::byte> mine,
                                                     std::int64_t most_bytes) {
  ensure(size_of(mine) <= most_bytes, "a rank gives at most as many bytes as it said");
  constexpr std::int64_t kLength = sizeof(std::int64_t);
  const std::int64_t world = group.getSize(), slot = kLength + most_bytes, length = size_of(mine);
  at::Tensor message = at::zeros({slot}, at::kByte);
  auto* const start = static_cast<std::byte*>(message.data_ptr());
  std::memcpy(start, &length, kLength);
  std::copy(mine.begin(), mine.end(), start + kLength);
  at::Tensor all = at::empty({world, slot}, at::kByte);
  group._allgather_base(all, message)->wait();

  std::vector<std::vector<std::byte>> out;
  for (std::int64_t r = 0; r < world; ++r) {
    const std::byte* const from = static_cast<const std::byte*>(all.data_ptr()) + r * slot;
    std::int64_t count = 0;
    std::memcpy(&count, from, kLength);
    ensure(count >= 0 && count <= most_bytes, "the length of a message fits its place");
    out.emplace_back(from + kLength, from + kLength + count);
  }
  return out;
}

}  // namespace saber
