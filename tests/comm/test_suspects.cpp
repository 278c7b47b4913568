#include "comm/suspects.h"

#include <gtest/gtest.h>

#include "core/narrow.h"

namespace saber {
namespace {

const std::vector<std::string> kHosts = {"n0", "n1", "n2", "n3"};

Sighting sighting(std::int32_t rank, const char* kind, std::int64_t number, bool waiting, double seconds,
                  double age = 0.5) {
  Sighting out;
  out.heartbeat.rank = rank;
  out.heartbeat.set_kind(kind);
  out.heartbeat.number = number;
  out.heartbeat.waiting = waiting ? 1 : 0;
  out.heartbeat.seconds = seconds;
  out.age = age;
  return out;
}

Verdict verdict(const std::vector<Sighting>& all, double table_age = 0.5) {
  return verdict_of(sighting(0, "all-reduce", 7, true, 60).heartbeat, most_suspicious(all, 16), table_age, kHosts);
}

TEST(Suspects, ASilentRankIsNamedWithWhatItDidLast) {
  const Verdict v = verdict({sighting(0, "all-reduce", 7, true, 60), sighting(1, "all-gather", 6, false, 1, 58.2),
                             sighting(2, "all-reduce", 7, true, 60)});
  ASSERT_EQ(v.reasons.size(), 1U);
  EXPECT_EQ(v.reasons[0], "rank 1 on n1: no heartbeat for 59 s: dead, stopped or cut off; last seen in all-gather #6");
  EXPECT_NEAR(v.silent_seconds, 58.7, 1e-9);
}

TEST(Suspects, ARankThatComputesIsSlow) {
  const Verdict v = verdict({sighting(0, "all-reduce", 7, true, 60), sighting(2, "all-reduce", 6, false, 61)});
  ASSERT_EQ(v.reasons.size(), 1U);
  EXPECT_EQ(v.reasons[0], "rank 2 on n2: slow: has been computing for 62 s since all-reduce #6");
  EXPECT_EQ(v.silent_seconds, 0);
}

// In an earlier operation of the same kind it may wait for a third rank.
TEST(Suspects, ARankThatWaitsInAnotherKindOfOperationHasDiverged) {
  EXPECT_EQ(verdict({sighting(3, "barrier", 7, true, 40)}).reasons.at(0),
            "rank 3 on n3: diverged: has been waiting for 41 s in barrier #7");
  EXPECT_EQ(verdict({sighting(3, "all-reduce", 5, true, 40)}).reasons.at(0),
            "rank 3 on n3: has been waiting for 41 s in all-reduce #5");
}

TEST(Suspects, WithoutWordFromRankZeroItIsTheSuspect) {
  const Verdict v =
      verdict_of(sighting(2, "broadcast", 4, true, 30).heartbeat, {sighting(1, "broadcast", 4, true, 1)}, 29, kHosts);
  ASSERT_EQ(v.reasons.size(), 1U);
  EXPECT_EQ(v.reasons[0], "rank 0 on n0: no word for 29 s: dead, stopped or cut off");
  EXPECT_EQ(v.silent_seconds, 29);
}

TEST(Suspects, NobodyIsAccusedFalsely) {
  const Verdict v = verdict({sighting(0, "all-reduce", 7, true, 60), sighting(1, "all-reduce", 7, true, 60),
                             sighting(2, "all-reduce", 8, false, 0)});
  ASSERT_EQ(v.reasons.size(), 1U);
  EXPECT_NE(v.reasons[0].find("the network between them"), std::string::npos) << v.reasons[0];
}

TEST(Suspects, ARankThatNeverBegan) {
  EXPECT_EQ(verdict({sighting(1, "", 0, false, 0, 70)}).reasons.at(0),
            "rank 1 on n1: no heartbeat for 70 s: dead, stopped or cut off; not seen in any operation");
}

TEST(Suspects, TheWorstRowsStayWhenThereAreMany) {
  std::vector<Sighting> all;
  for (std::int32_t r = 0; r < 100; ++r) all.push_back(sighting(r, "all-reduce", 7, true, 9));
  all[70].age = 20;
  all[71].age = 30;
  all[50] = sighting(50, "all-reduce", 6, false, 9);
  all[51] = sighting(51, "all-reduce", 7, false, 9);
  const auto rows = most_suspicious(all, 4);
  std::vector<std::int32_t> ranks;
  for (const Sighting& row : rows) ranks.push_back(row.heartbeat.rank);
  EXPECT_EQ(ranks, (std::vector<std::int32_t>{71, 70, 50, 51}));
}

TEST(Suspects, TheRankThatWaitsLeastIsSlow) {
  const auto slow = slow_rank({20.0, 21.0, 1.0, 20.5}, 30);
  ASSERT_TRUE(slow.has_value());
  EXPECT_EQ(slow->rank, 2);
  EXPECT_NEAR(slow->seconds_lost, 19.5, 1e-9);
  EXPECT_FALSE(slow_rank({5.0, 4.0, 3.0, 4.5}, 30).has_value());
}

}  // namespace
}  // namespace saber
