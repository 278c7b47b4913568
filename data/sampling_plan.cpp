#include "data/sampling_plan.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/narrow.h"
#include "core/random.h"

namespace saber {

SamplingPlan::SamplingPlan(std::vector<std::vector<std::int64_t>> groups, std::int64_t batch_size, std::uint64_t seed)
    : groups_(std::move(groups)), batch_size_(batch_size), seed_(seed) {
  ensure(batch_size_ > 0, "a batch holds at least one unit");
  for (const auto& group : groups_) batches_per_epoch_ += ceil_div(size_of(group), batch_size_);
  ensure(batches_per_epoch_ > 0, "a sampling plan holds at least one unit");
}

std::vector<std::int64_t> SamplingPlan::batch(std::int64_t step) const {
  ensure(step >= 0, "steps count from 0");
  prepare(step / batches_per_epoch_);
  return cached_batches_[to_index(step % batches_per_epoch_)];
}

void SamplingPlan::prepare(std::int64_t epoch) const {
  if (epoch == cached_epoch_) return;
  std::vector<std::vector<std::int64_t>> batches;
  for (std::int64_t g = 0; g < size_of(groups_); ++g) {
    std::vector<std::int64_t> units = groups_[to_index(g)];
    RandomStream(seed_, "plan", {epoch, g}).shuffle(units);
    for (std::int64_t begin = 0; begin < size_of(units); begin += batch_size_) {
      const std::int64_t end = std::min(begin + batch_size_, size_of(units));
      batches.emplace_back(units.begin() + begin, units.begin() + end);
    }
  }
  RandomStream(seed_, "plan-order", {epoch}).shuffle(batches);
  cached_batches_ = std::move(batches);
  cached_epoch_ = epoch;
}

}  // namespace saber
