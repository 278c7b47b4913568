#include "comm/own_device.h"

#include <fmt/format.h>

#include <cstdlib>
#include <optional>
#include <vector>

#include "comm/cuda.h"
#include "comm/device_choice.h"
#include "core/log.h"
#include "core/narrow.h"

namespace saber {
namespace {

std::vector<VisibleGpus> visible_to_all(const MpiSession& session, int mine) {
  const std::vector<std::string> hosts = session.all_gather(session.host());
  const std::vector<std::string> local_ranks = session.all_gather(std::to_string(session.local_rank()));
  const std::vector<std::string> counts = session.all_gather(std::to_string(mine));
  std::vector<VisibleGpus> out;
  for (std::size_t r = 0; r < hosts.size(); ++r) {
    out.push_back({hosts[r], std::stoi(local_ranks[r]), std::stoi(counts[r])});
  }
  return out;
}

}  // namespace

c10::Device own_device(const MpiSession& session, const std::string& setting) {
  // With `cpu` no GPU is looked for: that alone would load the driver.
  const std::vector<VisibleGpus> visible = visible_to_all(session, setting == "cpu" ? 0 : num_visible_gpus());
  const std::string place = fmt::format("rank {} on {}", session.rank(), session.host());
  std::optional<int> gpu;
  std::string uuid;
  session.on_all([&] {
    gpu = gpu_of(setting, cuda_in_build(), visible, session.rank());
    if (gpu) uuid = uuid_of_gpu(*gpu, place);
  });
  if (!gpu) {
    if (session.is_root() && setting == "auto" && cuda_in_build())
      spdlog::info("computes on the CPU: no rank sees a GPU");
    return c10::Device(c10::kCPU);
  }
  const std::vector<std::string> uuids = session.all_gather(uuid);
  std::vector<HeldGpu> held;
  for (std::size_t r = 0; r < uuids.size(); ++r) held.push_back({visible[r].host, uuids[r]});
  session.on_all([&] {
    require_a_gpu_each(held);
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);  // read when cuBLAS starts
    use_gpu(*gpu, place);
  });
  spdlog::info("computes on cuda:{}, {}", *gpu, uuid);
  return c10::Device(c10::kCUDA, narrow<c10::DeviceIndex>(*gpu));
}

}  // namespace saber
