// Advantages of sampled sequences within their query's group (docs/model.md, reinforce).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace saber {

struct Advantages {
  std::vector<double> values;    // one per reward; 0 where it failed and in groups without spread
  std::int64_t failed = 0;       // rewards that are NaN
  std::int64_t flat_groups = 0;  // groups of fewer than two rewards, or whose rewards are all equal
  double mean_reward = 0;        // over what did not fail; NaN when everything did
};

// Groups are `group_size` consecutive rewards. Advantage = (r - mean) / (standard deviation with n - 1 + 0.05), mean
// and deviation over the group's rewards that did not fail (NaN).
Advantages group_advantages(std::span<const double> rewards, std::int64_t group_size);

}  // namespace saber
