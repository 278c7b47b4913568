// Planted failures: no reward is invented, and what failed is the same on all ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>

#include "core/error.h"
#include "core/narrow.h"
#include "core/slice.h"
#include "tests/comm/mpi_world.h"
#include "tests/support/small_world.h"
#include "trainer/reward/reward_gather.h"

namespace saber {
namespace {

using test::mpi_world;

double right_reward(const DemonstrationSequence& sequence) {
  return -0.5 - static_cast<double>(sequence.query) - 1e-3 * static_cast<double>(sequence.shots[0]);
}

// Scores right, or breaks in a way of its own.
class PlantedScorer : public BlockingScorer {
 public:
  enum class Fault { none, not_a_number, infinite, nothing, short_answer, down };
  explicit PlantedScorer(Fault fault) : fault_(fault) {}

  std::vector<std::optional<Score>> score_now(std::span<const DemonstrationSequence> sequences, bool) override {
    if (fault_ == Fault::down) throw Error(ErrorKind::not_available, "the server is down");
    std::vector<std::optional<Score>> out;
    for (const DemonstrationSequence& sequence : sequences) {
      asked.push_back(sequence);
      const bool hit = sequence.shots[0] % 3 == 0;
      const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
      if (hit && fault_ == Fault::nothing) {
        out.push_back(std::nullopt);
      } else if (hit && fault_ == Fault::not_a_number) {
        out.push_back(Score{nan, true});
      } else if (hit && fault_ == Fault::infinite) {
        out.push_back(Score{-inf, true});
      } else {
        out.push_back(Score{right_reward(sequence), true});
      }
    }
    if (fault_ == Fault::short_answer) out.resize(out.size() / 2);
    return out;
  }
  std::string identity() const override { return "planted"; }
  std::string prompt_template() const override { return "none"; }

  std::vector<DemonstrationSequence> asked;

 private:
  Fault fault_;
};

using Fault = PlantedScorer::Fault;

class RewardGather : public testing::Test {
 protected:
  RewardGather() : set_(test::small_set()), group_(make_process_group(mpi_world(), {"mpi"})) {
    for (const std::int64_t query : set_.rows_of(Split::train)) {
      for (std::int64_t i = 0; i < 7; ++i) sequences_.push_back({query, {i / 2, i}});  // rows 0..6
      sequences_.push_back({query, {0, 0}});                                           // once more
    }
  }
  bool i_am_last() const { return mpi_world().rank() == mpi_world().world_size() - 1; }
  // Every reward is the right one or NaN; the ranks agree bit for bit.
  void expect_honest(const GatheredRewards& gathered) const {
    ASSERT_EQ(gathered.rewards.size(), sequences_.size());
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      const bool right = std::isnan(gathered.rewards[i]) || gathered.rewards[i] == right_reward(sequences_[i]);
      EXPECT_TRUE(right) << gathered.rewards[i];
    }
    for (const auto& theirs : all_gather_values(*group_, gathered.rewards, size_of(gathered.rewards)))
      EXPECT_EQ(std::memcmp(theirs.data(), gathered.rewards.data(), theirs.size() * sizeof(double)), 0);
    const auto counts = all_gather_values(*group_, std::vector<std::int64_t>{gathered.asked, gathered.failed}, 2);
    for (const auto& theirs : counts) EXPECT_EQ(theirs, counts[0]);
  }
  static std::int64_t num_failed(const GatheredRewards& gathered) {
    return std::count_if(gathered.rewards.begin(), gathered.rewards.end(), [](double r) { return std::isnan(r); });
  }

  EmbeddingSet set_;
  ProcessGroupPtr group_;
  std::vector<DemonstrationSequence> sequences_;
};

TEST_F(RewardGather, EverySequenceIsScoredOnceByOneRank) {
  PlantedScorer scorer(Fault::none);
  RewardStore store(set_);
  const GatheredRewards gathered = gather_rewards(sequences_, scorer, store, *group_);
  expect_honest(gathered);
  EXPECT_EQ(num_failed(gathered), 0);
  EXPECT_EQ(gathered.asked, size_of(sequences_) / 8 * 7) << "a sequence that occurs twice is scored once";
  std::vector<std::int64_t> mine;
  for (const DemonstrationSequence& sequence : scorer.asked) mine.push_back(sequence.query);
  std::map<std::int64_t, int> ranks_of_query;
  std::size_t total = 0;
  for (const auto& of_rank : all_gather_values(*group_, mine, size_of(sequences_))) {
    total += of_rank.size();
    for (const std::int64_t query : std::set<std::int64_t>(of_rank.begin(), of_rank.end())) ++ranks_of_query[query];
  }
  EXPECT_EQ(static_cast<std::int64_t>(total), gathered.asked);
  for (const auto& [query, ranks] : ranks_of_query) EXPECT_EQ(ranks, 1) << "a query is one rank's";

  scorer.asked.clear();
  const GatheredRewards again = gather_rewards(sequences_, scorer, store, *group_);
  expect_honest(again);
  EXPECT_EQ(again.asked, 0);
  EXPECT_TRUE(scorer.asked.empty());
}

TEST_F(RewardGather, WhatIsNoNumberOrMissingFailsOnAllRanks) {
  for (const Fault fault : {Fault::nothing, Fault::not_a_number, Fault::infinite}) {
    PlantedScorer scorer(fault);
    RewardStore store(set_);
    const GatheredRewards gathered = gather_rewards(sequences_, scorer, store, *group_);
    expect_honest(gathered);
    // shots[0] is 0, 0, 1, 1, 2, 2, 3 and once more 0: four hits.
    EXPECT_EQ(num_failed(gathered), size_of(sequences_) / 8 * 4);
    EXPECT_EQ(gathered.failed, size_of(sequences_) / 8 * 3);

    PlantedScorer mended(Fault::none);
    const GatheredRewards again = gather_rewards(sequences_, mended, store, *group_);
    expect_honest(again);
    EXPECT_EQ(again.asked, gathered.failed) << "what failed is tried again when it is met again";
    EXPECT_EQ(num_failed(again), 0);
  }
}

TEST_F(RewardGather, AShortAnswerLeavesTheRestWithoutReward) {
  PlantedScorer scorer(Fault::short_answer);
  RewardStore store(set_);
  const GatheredRewards gathered = gather_rewards(sequences_, scorer, store, *group_);
  expect_honest(gathered);
  EXPECT_GE(gathered.failed, gathered.asked / 2);
  EXPECT_LT(gathered.failed, gathered.asked);
}

TEST_F(RewardGather, OneRanksScorerIsDown) {
  PlantedScorer scorer(i_am_last() ? Fault::down : Fault::none);
  RewardStore store(set_);
  const GatheredRewards gathered = gather_rewards(sequences_, scorer, store, *group_);
  expect_honest(gathered);
  const Slice lost = slice_of_rank(6, mpi_world().world_size() - 1, mpi_world().world_size());
  EXPECT_EQ(gathered.failed, 7 * lost.size()) << "the queries of that rank, and no others";
}

TEST_F(RewardGather, RanksThatKnowDifferentRewardsAreRefused) {
  PlantedScorer scorer(Fault::none);
  RewardStore store(set_);
  if (i_am_last()) store.add(sequences_[0], right_reward(sequences_[0]));
  if (mpi_world().world_size() == 1) {
    EXPECT_NO_THROW(gather_rewards(sequences_, scorer, store, *group_));
  } else {
    EXPECT_THROW(gather_rewards(sequences_, scorer, store, *group_), Error);
  }
}

TEST_F(RewardGather, AnotherErrorOfTheScorerIsNotHidden) {
  if (mpi_world().world_size() > 1) GTEST_SKIP() << "one rank alone would throw";
  class Broken : public PlantedScorer {
   public:
    Broken() : PlantedScorer(Fault::none) {}
    std::vector<std::optional<Score>> score_now(std::span<const DemonstrationSequence>, bool) override {
      throw Error(ErrorKind::internal, "a bug");
    }
  } scorer;
  RewardStore store(set_);
  EXPECT_THROW(gather_rewards(sequences_, scorer, store, *group_), Error);
}

}  // namespace
}  // namespace saber
