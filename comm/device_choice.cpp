#include "comm/device_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

constexpr std::size_t kRanksNamed = 8;

// "rank 3", "ranks 0, 1 and 2", "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 56 more"
std::string named(const std::vector<int>& ranks) {
  std::string out = ranks.size() == 1 ? "rank " : "ranks ";
  const std::size_t shown = std::min(ranks.size(), kRanksNamed);
  for (std::size_t i = 0; i < shown; ++i) {
    const bool last = i > 0 && i + 1 == ranks.size();
    out += fmt::format("{}{}", i == 0 ? "" : last ? " and " : ", ", ranks[i]);
  }
  if (shown < ranks.size()) out += fmt::format(" and {} more", ranks.size() - shown);
  return out;
}

[[noreturn]] void refuse_gpus(const std::string& message, const std::string& hint) {
  throw Error(ErrorKind::not_available, message, "device", hint + ", or set device to cpu");
}

// Ranks by host, of those for which `lacks` holds; "ranks 0 and 1 on node7, rank 2 on node8", or nothing.
template <class Lacks>
std::string lacking(const std::vector<VisibleGpus>& ranks, Lacks lacks) {
  std::map<std::string, std::vector<int>> by_host;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    if (lacks(ranks[r])) by_host[ranks[r].host].push_back(narrow<int>(r));
  }
  std::string out;
  for (const auto& [host, members] : by_host) {
    if (!out.empty()) out += ", ";
    out += fmt::format("{} on {}", named(members), host);
  }
  return out;
}

}  // namespace

std::optional<int> gpu_of(const std::string& setting, bool cuda_in_build, const std::vector<VisibleGpus>& ranks,
                          int rank) {
  if (setting == "cuda" && !cuda_in_build) {
    throw Error(ErrorKind::not_available, "is cuda, but this build has no CUDA parts", "device",
                "set device to auto or cpu; or run `tools/setup --gpu` and build with `tools/build -DSABER_CUDA=ON`");
  }
  const bool some = std::any_of(ranks.begin(), ranks.end(), [](const VisibleGpus& r) { return r.count > 0; });
  if (setting == "cpu" || (setting == "auto" && !(cuda_in_build && some))) return std::nullopt;
  return device_of(ranks, rank);
}

int device_of(const std::vector<VisibleGpus>& ranks, int rank) {
  const std::string blind = lacking(ranks, [](const VisibleGpus& r) { return r.count == 0; });
  if (!blind.empty()) {
    refuse_gpus("no GPU is visible to " + blind,
                "start on hosts where nvidia-smi lists a GPU, and see what CUDA_VISIBLE_DEVICES hides");
  }
  const std::string surplus =
      lacking(ranks, [](const VisibleGpus& r) { return r.count > 1 && r.local_rank >= r.count; });
  if (!surplus.empty()) {
    refuse_gpus("fewer visible GPUs than ranks: none is left for " + surplus, "start one rank per GPU on each host");
  }
  const VisibleGpus& mine = ranks.at(to_index(rank));
  return mine.count == 1 ? 0 : mine.local_rank;
}

std::vector<std::vector<int>> ranks_sharing_a_gpu(const std::vector<HeldGpu>& ranks) {
  std::map<std::pair<std::string, std::string>, std::vector<int>> holders;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    holders[{ranks[r].host, ranks[r].uuid}].push_back(narrow<int>(r));
  }
  std::vector<std::vector<int>> out;
  for (auto& [gpu, members] : holders) {
    if (members.size() > 1) out.push_back(std::move(members));
  }
  std::sort(out.begin(), out.end());
  return out;
}

void require_a_gpu_each(const std::vector<HeldGpu>& ranks) {
  std::string shared;
  for (const std::vector<int>& members : ranks_sharing_a_gpu(ranks)) {
    const HeldGpu& gpu = ranks[to_index(members.front())];
    shared += fmt::format("{}{} on {} hold {}", shared.empty() ? "" : ", ", named(members), gpu.host, gpu.uuid);
  }
  if (shared.empty()) return;
  refuse_gpus("each rank wants a GPU of its own, but " + shared,
              "start one rank per GPU and let each see all of its host's GPUs, or exactly one of its own");
}

}  // namespace saber
