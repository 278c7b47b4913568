#include "data/sampling_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

// Units 0..22 in groups of 10, 0, 1 and 12; batches of 4: 3 + 0 + 1 + 3.
SamplingPlan example(std::uint64_t seed = 7) {
  std::vector<std::vector<std::int64_t>> groups(4);
  for (std::int64_t unit = 0; unit < 23; ++unit) groups[unit < 10 ? 0 : unit < 11 ? 2 : 3].push_back(unit);
  return {groups, 4, seed};
}

std::vector<std::vector<std::int64_t>> epoch_of(const SamplingPlan& plan, std::int64_t epoch) {
  std::vector<std::vector<std::int64_t>> batches;
  for (std::int64_t i = 0; i < plan.batches_per_epoch(); ++i) {
    batches.push_back(plan.batch(epoch * plan.batches_per_epoch() + i));
  }
  return batches;
}

TEST(SamplingPlan, EveryUnitOncePerEpochAndGroupsApart) {
  const SamplingPlan plan = example();
  EXPECT_EQ(plan.batches_per_epoch(), 7);
  for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
    std::vector<std::int64_t> seen;
    for (const auto& batch : epoch_of(plan, epoch)) {
      ASSERT_FALSE(batch.empty());
      EXPECT_LE(batch.size(), 4U);
      const auto group = [](std::int64_t unit) { return unit < 10 ? 0 : unit < 11 ? 2 : 3; };
      for (const std::int64_t unit : batch) EXPECT_EQ(group(unit), group(batch[0]));
      seen.insert(seen.end(), batch.begin(), batch.end());
    }
    std::sort(seen.begin(), seen.end());
    ASSERT_EQ(seen.size(), 23U);
    for (std::int64_t unit = 0; unit < 23; ++unit) EXPECT_EQ(seen[to_index(unit)], unit);
  }
}

TEST(SamplingPlan, IsAPureFunctionOfTheStep) {
  const SamplingPlan forward = example();
  std::vector<std::vector<std::int64_t>> wanted;
  for (std::int64_t step = 0; step < 30; ++step) wanted.push_back(forward.batch(step));
  const SamplingPlan jumping = example();
  for (std::int64_t i = 0; i < 30; ++i) {
    const std::int64_t step = i * 17 % 30;
    EXPECT_EQ(jumping.batch(step), wanted[to_index(step)]);
    EXPECT_EQ(example().batch(step), wanted[to_index(step)]);
  }
}

TEST(SamplingPlan, EpochsAndSeedsDiffer) {
  const SamplingPlan plan = example();
  EXPECT_NE(epoch_of(plan, 0), epoch_of(plan, 1));
  EXPECT_NE(epoch_of(plan, 0), epoch_of(example(8), 0));
}

// Not only their order: other units meet in a batch.
TEST(SamplingPlan, EveryEpochPutsTogetherOtherUnits) {
  const SamplingPlan plan = example();
  const auto units_together = [&](std::int64_t epoch) {
    std::set<std::set<std::int64_t>> batches;
    for (const auto& batch : epoch_of(plan, epoch)) batches.emplace(batch.begin(), batch.end());
    return batches;
  };
  for (std::int64_t epoch = 1; epoch < 4; ++epoch) {
    for (std::int64_t earlier = 0; earlier < epoch; ++earlier)
      EXPECT_NE(units_together(epoch), units_together(earlier)) << epoch << " and " << earlier;
  }
}

TEST(SamplingPlan, BatchesOfGroupsAreMixed) {
  const SamplingPlan plan = example();
  std::vector<std::vector<std::int64_t>> orders;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::int64_t> groups;
    for (const auto& batch : epoch_of(plan, epoch)) groups.push_back(batch[0] < 10 ? 0 : batch[0] < 11 ? 2 : 3);
    orders.push_back(groups);
  }
  EXPECT_FALSE(orders[0] == orders[1] && orders[1] == orders[2]);
}

TEST(SamplingPlan, RefusesToPlanNothing) {
  EXPECT_THROW(SamplingPlan({{}, {}}, 4, 1), Error);
  EXPECT_THROW(SamplingPlan({{1}}, 0, 1), Error);
  EXPECT_THROW(example().batch(-1), Error);
}

}  // namespace
}  // namespace saber
