#include "trainer/stage.h"

#include <gtest/gtest.h>

#include "core/narrow.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/fake_scorer.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

using testing_data::expect_bad_input;

TEST(StageLength, IsParsed) {
  const auto six = parse_stage("listwise 6 epochs"), many = parse_stage("  reinforce 300   steps"),
             one = parse_stage("imitate 1 epoch");
  ASSERT_TRUE(six && many && one);
  EXPECT_EQ(six->objective, "listwise");
  EXPECT_EQ(six->count, 6);
  EXPECT_TRUE(six->epochs);
  EXPECT_EQ(many->objective, "reinforce");
  EXPECT_EQ(many->count, 300);
  EXPECT_FALSE(many->epochs);
  for (const char* const bad :
       {"", "listwise", "listwise 6", "listwise six epochs", "listwise 6 hours", "guess 6 epochs", "listwise 0 epochs",
        "listwise -1 steps", "listwise 6x epochs", "listwise 6 epochs more", "listwise 99999999999999999999 steps"}) {
    EXPECT_FALSE(parse_stage(bad)) << bad;
  }
}

class StageTest : public testing::Test {
 protected:
  StageTest() : set_(test::small_set()), features_(set_, torch::kFloat64), scorer_([](const auto&) { return -1.0; }) {
    Schema schema;
    settings_.declare(schema);
  }
  std::vector<Stage> make(const std::vector<std::string>& stages, const std::vector<ScoreTree>& trees) {
    settings_.stages = stages;
    return make_stages(settings_, 1,
                       {set_, features_, trees, std::vector<std::string>(trees.size(), "t.h5"), &scorer_});
  }

  EmbeddingSet set_;
  Features features_;
  test::FakeScorer scorer_;
  TrainSettings settings_;
};

TEST_F(StageTest, FollowOneAnother) {
  settings_.listwise.batch_size = 5;
  settings_.reinforce.batch_size = 4;
  const std::vector<Stage> stages =
      make({"listwise 3 epochs", "reinforce 7 steps", "listwise 2 steps"}, {test::small_tree(set_)});
  ASSERT_EQ(stages.size(), 3U);
  EXPECT_EQ(stages[0].num_steps, 3 * stages[0].plan.batches_per_epoch());
  EXPECT_EQ(stages[1].first_step, stages[0].num_steps);
  EXPECT_EQ(stages[1].plan.batch(0).size(), 4U);
  EXPECT_EQ(stages[1].optimiser.rate, settings_.reinforce.optimiser.rate);
  EXPECT_EQ(stages[2].first_step, stages[1].first_step + 7);
  EXPECT_EQ(stages[2].objective, stages[0].objective);
  EXPECT_EQ(reinforce_of(stages), stages[1].objective.get());
  EXPECT_EQ(reinforce_of(make({"listwise 1 epoch"}, {test::small_tree(set_)})), nullptr);
  EXPECT_NE(fingerprint_of(stages), fingerprint_of(make({"listwise 3 epochs"}, {test::small_tree(set_)})));
}

TEST_F(StageTest, ReinforceNeedsNoTreeButKnowsTheSequencesOfThoseItsLvlmScored) {
  settings_.sampling.shots = 3;
  ScoreTree tree = test::small_tree(set_);
  const auto sequence = [&] {
    const TreeReader reader(set_, tree, "t.h5");
    for (std::int64_t node = 0;; ++node) {
      if (tree.status[to_index(node)] == NodeStatus::scored && reader.path(node).size() == 3)
        return DemonstrationSequence{reader.query_row(node), reader.path(node)};
    }
  }();
  const auto known = [&](const std::vector<ScoreTree>& trees) {
    return reinforce_of(make({"reinforce 1 step"}, trees))->store().find(sequence).has_value();
  };
  EXPECT_FALSE(known({}));
  EXPECT_FALSE(known({tree})) << "scored by another LVLM";
  tree.origin.scorer = scorer_.identity();
  EXPECT_TRUE(known({tree}));
  EXPECT_NE(fingerprint_of(make({"reinforce 1 step"}, {tree})), fingerprint_of(make({"reinforce 1 step"}, {})))
      << "what is known belongs to what a run learns from";
  tree.origin.prompt_template = "another";
  EXPECT_FALSE(known({tree}));
  tree.origin.prompt_template = scorer_.prompt_template();
  tree.origin.reduction = "accuracy";
  EXPECT_FALSE(known({tree}));
}

TEST_F(StageTest, WhatTeachesNothingIsRefused) {
  QueryNodes root;
  root.query = set_.id[to_index(set_.rows_of(Split::train)[0])];
  root.parent = root.demonstration = {-1};
  root.reward = {-1.0};
  root.status = {NodeStatus::scored};
  const ScoreTree empty = build_score_tree(test::origin_for(set_, 2), {root});
  expect_bad_input({"t.h5", "two scored children"}, [&] { make({"listwise 1 epoch"}, {empty}); });
  expect_bad_input({"t.h5", "no complete"}, [&] { make({"imitate 1 epoch"}, {empty}); });
  expect_bad_input({"train.scores"}, [&] { make({"listwise 1 epoch"}, {}); });
  expect_bad_input({"train.stages"}, [&] { make({}, {empty}); });
  // Some queries share their picture with library rows, which leaves them 38 or 39 of the 40.
  settings_.sampling.shots = 40;
  expect_bad_input({"train.reinforce.shots is 40", "the library has 3"}, [&] { make({"reinforce 1 step"}, {}); });
  class ShortScorer : public test::FakeScorer {
   public:
    ShortScorer() : FakeScorer([](const auto&) { return -1.0; }) {}
    std::int64_t max_shots() const override { return 3; }
  } short_scorer;
  settings_.sampling.shots = 4;
  settings_.stages = {"reinforce 1 step"};
  expect_bad_input({"train.reinforce.shots is 4", "at most 3"}, [&] {
    make_stages(settings_, 1, {set_, features_, {}, {}, &short_scorer});
  });
  const std::int64_t one = make({"listwise 1 epoch"}, {test::small_tree(set_)})[0].objective->num_units();
  EXPECT_EQ(make({"listwise 1 epoch"}, {test::small_tree(set_), test::small_tree(set_)})[0].objective->num_units(),
            2 * one);
}

TEST(TrainSettings, RulesAreKept) {
  TrainSettings settings;
  Schema schema;
  settings.declare(schema);
  expect_bad_input({"train.listwise.temperature"}, [&] { schema.assign("train.listwise.temperature=0"); });
  expect_bad_input({"train.stages holds 'guess 1 step'", "OBJECTIVE NUMBER"},
                   [&] { schema.assign("train.stages=listwise 1 epoch,guess 1 step"); });
  schema.assign("train.stages=listwise 1 epoch,reinforce 5 steps");
  EXPECT_TRUE(settings.has_stage("reinforce"));
  EXPECT_FALSE(settings.has_stage("imitate"));
}

}  // namespace
}  // namespace saber
