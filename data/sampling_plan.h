// Which units make up which global batch: a pure function of (seed, epoch, position). Ranks take slices of a global
// batch, so that the batches do not depend on the number of ranks.
#pragma once

#include <cstdint>
#include <vector>

namespace saber {

class SamplingPlan {
 public:
  // groups[g] lists the units that may share a batch (listwise: nodes of one depth; imitate: one group). Empty
  // groups are allowed, but some group must hold a unit.
  SamplingPlan(std::vector<std::vector<std::int64_t>> groups, std::int64_t batch_size, std::uint64_t seed);

  std::int64_t batches_per_epoch() const { return batches_per_epoch_; }
  // Units of the global batch of step 0, 1, 2, ...; epoch = step / batches_per_epoch(). Every epoch holds each unit
  // exactly once; the last batch of a group may be short. Batches of all groups come in one shuffled order.
  std::vector<std::int64_t> batch(std::int64_t step) const;

 private:
  void prepare(std::int64_t epoch) const;

  std::vector<std::vector<std::int64_t>> groups_;
  std::int64_t batch_size_;
  std::uint64_t seed_;
  std::int64_t batches_per_epoch_ = 0;
  // The epoch last asked for; a cache only.
  mutable std::int64_t cached_epoch_ = -1;
  mutable std::vector<std::vector<std::int64_t>> cached_batches_;
};

}  // namespace saber
