// Sums the ranks' gradients while backward still computes earlier ones. The flat gradient buffer is cut into buckets
// from its end, where backward begins; a bucket travels, in place, as soon as its last gradient is there. Buckets and
// their order never change, so that a resumed run sums as an unbroken one does.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <utility>
#include <vector>

#include "comm/process_group.h"
#include "trainer/optimiser/flat_parameters.h"

namespace saber {

// Large enough that a message's latency does not count, small enough that the last bucket, which no computation hides,
// is short (bench/README.md).
inline constexpr std::int64_t kBucketBytes = std::int64_t{4} << 20;

class GradientReduction {
 public:
  // References must outlive the reduction.
  GradientReduction(FlatParameters& parameters, c10d::ProcessGroup& group, std::int64_t bucket_bytes = kBucketBytes);
  ~GradientReduction();
  GradientReduction(const GradientReduction&) = delete;
  GradientReduction& operator=(const GradientReduction&) = delete;

  // The next backward is the last of this step. Collective, as is finish(); between the two all ranks make the same
  // other collectives in the same order, relative to the buckets, too.
  void begin();
  // Afterwards gradients and loss hold the sums; zero what no backward has touched since they were dropped. Returns the
  // sum of the gradients' squares, taken bucket by bucket while later ones are still on their way.
  double finish();

  std::int64_t num_buckets() const { return static_cast<std::int64_t>(buckets_.size()); }
  // Buckets that were on their way before finish() was called; of the step finished last.
  std::int64_t num_overlapped() const { return num_overlapped_; }

 private:
  struct Bucket {
    at::Tensor slice;       // of the flat buffer
    at::Tensor gradients;   // the slice without the loss
    std::int64_t size = 0;  // parameters
    std::int64_t missing = 0;
    c10::intrusive_ptr<c10d::Work> work;
  };
  void arrived(std::size_t parameter);
  void send_ready(bool all);

  FlatParameters& parameters_;
  c10d::ProcessGroup& group_;
  std::vector<Bucket> buckets_;
  std::vector<std::size_t> bucket_of_;  // of each parameter
  std::size_t next_ = 0;                // to be sent
  std::size_t oldest_ = 0;              // on its way
  std::int64_t num_overlapped_ = 0;
  bool active_ = false;
  // Autograd's nodes that add to the gradients, and our hooks in them.
  std::vector<std::pair<std::shared_ptr<torch::autograd::Node>, std::uintptr_t>> hooks_;
};

}  // namespace saber
