#include "trainer/reward/advantage.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

constexpr double kDeviationFloor = 0.05;

// Writes the group's advantages; false when it has no spread.
bool normalise(std::span<const double> rewards, std::span<double> advantages) {
  double count = 0, sum = 0, squares = 0;
  double lowest = std::numeric_limits<double>::infinity(), highest = -lowest;
  for (const double r : rewards) {
    if (std::isnan(r)) continue;
    count += 1;
    sum += r;
    lowest = std::min(lowest, r);
    highest = std::max(highest, r);
  }
  if (count < 2 || lowest == highest) return false;
  const double mean = sum / count;
  for (const double r : rewards) squares += std::isnan(r) ? 0 : (r - mean) * (r - mean);
  const double scale = std::sqrt(squares / (count - 1)) + kDeviationFloor;
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    advantages[i] = std::isnan(rewards[i]) ? 0 : (rewards[i] - mean) / scale;
  }
  return true;
}

}  // namespace

Advantages group_advantages(std::span<const double> rewards, std::int64_t group_size) {
  const auto total = static_cast<std::int64_t>(rewards.size());
  ensure(group_size > 0 && total % group_size == 0, "rewards come in whole groups");
  Advantages out;
  out.values.resize(rewards.size());
  for (std::int64_t begin = 0; begin < total; begin += group_size) {
    const auto group = rewards.subspan(to_index(begin), to_index(group_size));
    if (!normalise(group, std::span(out.values).subspan(to_index(begin), to_index(group_size)))) ++out.flat_groups;
  }
  double sum = 0;
  for (const double r : rewards) {
    if (std::isnan(r)) {
      ++out.failed;
    } else {
      sum += r;
    }
  }
  out.mean_reward = sum / static_cast<double>(total - out.failed);
  return out;
}

}  // namespace saber
