#include "trainer/reward/reward_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/narrow.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

class RewardStoreTest : public testing::Test {
 protected:
  RewardStoreTest() : set_(test::small_set()), library_(set_.rows_of(Split::library)), store_(set_) {
    query_ = set_.rows_of(Split::train)[0];
    other_ = set_.rows_of(Split::train)[1];
  }
  DemonstrationSequence sequence(std::int64_t query, const std::vector<std::int64_t>& items) const {
    DemonstrationSequence out{query, {}};
    for (const std::int64_t item : items) out.shots.push_back(library_[to_index(item)]);
    return out;
  }
  EmbeddingSet set_;
  std::vector<std::int64_t> library_;
  RewardStore store_;
  std::int64_t query_ = 0, other_ = 0;
};

TEST_F(RewardStoreTest, FindsWhatWasAddedForThatQueryAndOrderOnly) {
  store_.add(sequence(query_, {1, 2}), -0.5);
  EXPECT_EQ(store_.find(sequence(query_, {1, 2})), -0.5);
  EXPECT_EQ(store_.find(sequence(query_, {2, 1})), std::nullopt);
  EXPECT_EQ(store_.find(sequence(query_, {1})), std::nullopt);
  EXPECT_EQ(store_.find(sequence(other_, {1, 2})), std::nullopt);
}

TEST_F(RewardStoreTest, AFailureIsNoRewardAndALaterRewardReplacesIt) {
  store_.add(sequence(query_, {1, 2}), std::nullopt);
  EXPECT_EQ(store_.find(sequence(query_, {1, 2})), std::nullopt);
  EXPECT_EQ(store_.num_own(), 1);
  store_.add(sequence(query_, {1, 2}), -0.25);
  EXPECT_EQ(store_.find(sequence(query_, {1, 2})), -0.25);
  EXPECT_EQ(store_.num_own(), 1);
}

TEST_F(RewardStoreTest, BecomesATreeThatCanBeWrittenAndRead) {
  store_.add(sequence(other_, {3, 1}), -3);
  store_.add(sequence(query_, {1, 5, 2}), -1);
  store_.add(sequence(query_, {1, 4, 2}), std::nullopt);
  store_.add(sequence(query_, {1, 4, 3}), -2);
  store_.add(sequence(query_, {7, 4, 3}), -4);
  const testing_data::TemporaryFolder folder;
  write_score_tree(folder / "t.h5", store_.tree(test::origin_for(set_, 3)));
  const ScoreTree tree = read_score_tree(folder / "t.h5");
  const TreeReader reader(set_, tree, "t.h5");
  std::map<std::vector<std::int64_t>, double> scored;
  std::int64_t failed = 0;
  for (std::int64_t node = 0; node < tree.size(); ++node) {
    const NodeStatus status = tree.status[to_index(node)];
    if (status == NodeStatus::failed) ++failed;
    if (status != NodeStatus::scored) continue;
    std::vector<std::int64_t> key = {reader.query_row(node)};
    for (const std::int64_t row : reader.path(node))
      key.push_back(std::find(library_.begin(), library_.end(), row) - library_.begin());
    scored[key] = tree.reward[to_index(node)];
  }
  const std::map<std::vector<std::int64_t>, double> wanted = {
      {{other_, 3, 1}, -3}, {{query_, 1, 5, 2}, -1}, {{query_, 1, 4, 3}, -2}, {{query_, 7, 4, 3}, -4}};
  EXPECT_EQ(scored, wanted);
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(tree.size(), 3 + 10) << "shared prefixes are one node: root 1 15 152 14 142 143 7 74 743 and root 3 31";
}

TEST_F(RewardStoreTest, KnownSequencesOfThatLengthAreFoundButNoPartOfTheOwnTree) {
  const ScoreTree tree = test::small_tree(set_, /*shots=*/3);
  const TreeReader reader(set_, tree, "t.h5");
  store_.add_known(reader, 2);
  std::int64_t found = 0;
  for (std::int64_t node = 0; node < tree.size(); ++node) {
    const std::vector<std::int64_t> path = reader.path(node);
    const auto reward = store_.find({reader.query_row(node), path});
    const bool wanted = path.size() == 2 && tree.status[to_index(node)] == NodeStatus::scored;
    ASSERT_EQ(reward.has_value(), wanted);
    if (!wanted) continue;
    EXPECT_EQ(*reward, tree.reward[to_index(node)]);
    store_.add({reader.query_row(node), path}, *reward);  // as a resumed run does
    ++found;
  }
  EXPECT_GT(found, 20);
  EXPECT_EQ(store_.num_own(), 0);
}

}  // namespace
}  // namespace saber
