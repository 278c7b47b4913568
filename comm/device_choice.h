// Whether a run computes on GPUs, which GPU a rank takes, and that no two ranks take the same one. Knows no CUDA, so
// that it is tested without GPUs.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace saber {

// What a rank sees.
struct VisibleGpus {
  std::string host;
  int local_rank = 0;  // among the ranks of its host
  int count = 0;
};

// What a rank has taken.
struct HeldGpu {
  std::string host;
  std::string uuid;
};

// Arguments hold all ranks in rank order, so that every rank finds the same error, or none.

// Number of the GPU that `rank` computes on; nothing: on the CPU, as all others. setting: of `device`, auto | cpu |
// cuda. auto is cuda where this build has the CUDA parts and some rank sees a GPU, else cpu. Throws not_available for
// cuda in a build without the CUDA parts, and else as device_of.
std::optional<int> gpu_of(const std::string& setting, bool cuda_in_build, const std::vector<VisibleGpus>& ranks,
                          int rank);

// Number of the device that `rank` takes: 0 where it sees only one (the launcher dealt them out), else its local rank.
// Throws not_available, naming ranks and hosts, when some rank sees no GPU or has a local rank beyond what it sees.
int device_of(const std::vector<VisibleGpus>& ranks, int rank);

// Groups of ranks that hold one GPU, each of two ranks or more, in rank order.
std::vector<std::vector<int>> ranks_sharing_a_gpu(const std::vector<HeldGpu>& ranks);

// Throws not_available, naming ranks, host and UUID, when two ranks hold one GPU.
void require_a_gpu_each(const std::vector<HeldGpu>& ranks);

}  // namespace saber
