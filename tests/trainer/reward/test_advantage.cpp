#include "trainer/reward/advantage.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"

namespace saber {
namespace {

const double kFailed = std::numeric_limits<double>::quiet_NaN();

TEST(Advantage, IsNormalisedWithinEachGroup) {
  const std::vector<double> rewards = {-1, -2, -3, 10, 10.5, 11};
  const Advantages a = group_advantages(rewards, 3);
  const std::vector<double> wanted = {1 / 1.05, 0, -1 / 1.05, -0.5 / 0.55, 0, 0.5 / 0.55};
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(a.values[i], wanted[i], 1e-12) << i;
  EXPECT_EQ(a.failed, 0);
  EXPECT_EQ(a.flat_groups, 0);
  EXPECT_NEAR(a.mean_reward, 25.5 / 6, 1e-12);
}

TEST(Advantage, FailuresAreMaskedAndCounted) {
  const Advantages a = group_advantages(std::vector<double>{-1, kFailed, -3, kFailed}, 4);
  const double scale = std::sqrt(2.0) + 0.05;
  const std::vector<double> wanted = {1 / scale, 0, -1 / scale, 0};
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(a.values[i], wanted[i], 1e-12) << i;
  EXPECT_EQ(a.failed, 2);
  EXPECT_NEAR(a.mean_reward, -2, 1e-12);
}

TEST(Advantage, GroupsWithoutSpreadGiveNoGradientAndAreCounted) {
  // Equal rewards whose mean is rounded; one reward alone; none.
  const std::vector<double> rewards = {-0.1, -0.1, -0.1, kFailed, -5, kFailed, kFailed, kFailed, kFailed, -1, -2, -1};
  const Advantages a = group_advantages(rewards, 3);
  for (std::size_t i = 0; i < 9; ++i) EXPECT_EQ(a.values[i], 0) << i;
  EXPECT_NE(a.values[9], 0);
  EXPECT_EQ(a.flat_groups, 3);
  EXPECT_EQ(a.failed, 5);
  EXPECT_TRUE(std::isnan(group_advantages(std::vector<double>{kFailed, kFailed}, 2).mean_reward));
}

TEST(Advantage, WantsWholeGroups) {
  EXPECT_THROW(group_advantages(std::vector<double>{1, 2, 3}, 2), Error);
}

}  // namespace
}  // namespace saber
