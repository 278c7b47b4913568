// Rewards of demonstration sequences, scored by all ranks together and known to all of them afterwards.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/process_group.h"
#include "trainer/reward/reward_store.h"
#include "trainer/reward/scorer.h"

namespace saber {

struct GatheredRewards {
  std::vector<double> rewards;  // one per sequence, NaN where the LVLM could not score it
  std::int64_t asked = 0;       // sequences given to the LVLM by all ranks together
  std::int64_t failed = 0;      // of these
};

// Collective; `sequences` (equal on all ranks, those of one query adjacent) and `store` are the same everywhere before
// and after. What the store does not know is scored once, however often it occurs. Whole queries are dealt to the
// ranks, so the bits of a reward depend on no number of ranks. A reward that is missing, not finite, or lost because a
// rank's scorer is not available (Scorer) counts as failed on all ranks. Throws on all ranks when they know different
// rewards. carrier: the device whose backend of the group carries the rewards (MessageGather).
GatheredRewards gather_rewards(std::span<const DemonstrationSequence> sequences, Scorer& scorer, RewardStore& store,
                               c10d::ProcessGroup& group, c10::Device carrier = at::kCPU);

}  // namespace saber
