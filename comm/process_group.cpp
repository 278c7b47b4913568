#include "comm/process_group.h"

#include <optional>

#include "comm/mpi_backend.h"
#include "comm/nccl_group.h"

namespace saber {

void CommSettings::declare(Schema& schema) {
  schema.choice(backend, "comm.backend", "auto", {"auto", "mpi", "nccl"},
                "what carries tensors between ranks: mpi for device cpu, nccl for cuda; auto is the one that fits");
  schema.choice(
      reward_gather, "comm.reward_gather", "auto", {"auto", "mpi", "nccl"},
      "what gathers the rewards of reinforce, which are numbers on the host: auto is the same as the backend");
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

c10::Device carrier_of_rewards(const c10d::ProcessGroup& group, const CommSettings& settings) {
  const std::optional<at::Device> gpu = group.getBoundDeviceId();
  if (settings.reward_gather == "nccl" && !gpu) {
    throw_bad_input("goes by way of a GPU's memory, but the run computes on the CPU", "comm.reward_gather: nccl",
                    "set it to auto or mpi, or device to cuda");
  }
  return gpu && settings.reward_gather != "mpi" ? *gpu : at::Device(at::kCPU);
}

void all_reduce_sum(c10d::ProcessGroup& group, at::Tensor& tensor) {
  start_all_reduce_sum(group, tensor)->wait();
}

at::Tensor zeros_to_sum(c10d::ProcessGroup& group, std::int64_t elements, const at::TensorOptions& options) {
  if (!options.device().is_cpu()) return at::zeros({elements}, options);
  auto* const mpi = dynamic_cast<MpiBackend*>(group.getBackend(c10::DeviceType::CPU).get());
  if (mpi == nullptr) return at::zeros({elements}, options);
  return mpi->shared_zeros(elements, c10::typeMetaToScalarType(options.dtype()));
}

void broadcast_from_root(c10d::ProcessGroup& group, at::Tensor& tensor) {
  std::vector<at::Tensor> tensors{tensor};
  group.broadcast(tensors)->wait();
}

c10::intrusive_ptr<c10d::Work> start_all_reduce_sum(c10d::ProcessGroup& group, at::Tensor& tensor) {
  std::vector<at::Tensor> tensors{tensor};
  return group.allreduce(tensors);
}

}  // namespace saber
