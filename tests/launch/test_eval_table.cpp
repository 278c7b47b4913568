#include "launch/eval_table.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/fake_scorer.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

Outcome answered(std::int64_t query_index, bool correct, double log_likelihood) {
  Outcome out;
  out.query_index = query_index;
  out.failed = 0;
  out.judged = 1;
  out.correct = correct ? 1 : 0;
  out.log_likelihood = log_likelihood;
  return out;
}

Outcome failed(std::int64_t query_index) {
  Outcome out;
  out.query_index = query_index;
  return out;
}

TEST(EvalTable, AFailedQueryIsNotCountedAsWrong) {
  // Two ranks; of five queries one has failed.
  const auto rows = summary({"row"}, {{answered(0, true, -1), failed(2), answered(4, false, -2)},
                                      {answered(1, true, -0.5), answered(3, true, -0.5)}});
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["failed"], 1);
  EXPECT_DOUBLE_EQ(rows[0]["accuracy"].get<double>(), 3.0 / 4);
  EXPECT_DOUBLE_EQ(rows[0]["accuracy_se"].get<double>(), 0.25);  // of 1, 1, 1 and 0
  EXPECT_DOUBLE_EQ(rows[0]["log_likelihood"].get<double>(), -1);
  EXPECT_EQ(rows[0]["correct"].dump(), "[1,1,null,1,0]");
  EXPECT_EQ(rows[0]["log_likelihoods"].dump(), "[-1.0,-0.5,null,-0.5,-2.0]");
}

TEST(EvalTable, WhereNobodyTellsRightFromWrongThereIsNoAccuracy) {
  Outcome unjudged = answered(0, false, -1);
  unjudged.judged = 0;
  const auto none = summary({"row"}, {{unjudged}})[0];
  EXPECT_TRUE(std::isnan(none["accuracy"].get<double>()));
  EXPECT_EQ(none["failed"], 0);
  EXPECT_EQ(none["correct"].dump(), "[null]");
  EXPECT_DOUBLE_EQ(none["log_likelihood"].get<double>(), -1);
  const auto some = summary({"row"}, {{unjudged, answered(1, true, -1)}})[0];
  EXPECT_DOUBLE_EQ(some["accuracy"].get<double>(), 1) << "over those that are judged";
}

TEST(EvalTable, ARowWithoutASingleAnswerIsAnError) {
  testing_data::expect_error(ErrorKind::internal, {"row", "could not score a single query"}, [] {
    summary({"row"}, {{failed(0)}, {failed(1)}});
  });
}

TEST(EvalTable, WhatTheLvlmCouldNotScoreHasFailed) {
  const EmbeddingSet set = test::small_set();
  const std::int64_t query = set.rows_of(Split::validation)[0], shot = set.rows_of(Split::library)[0];
  test::FakeScorer scorer([](const DemonstrationSequence& sequence) {
    return sequence.shots.empty() ? std::nullopt : std::optional(-3.0);
  });
  // The LVLM cannot score the first; the second could not be selected; the third is fine.
  const Shown shown = {DemonstrationSequence{query, {}}, std::nullopt, DemonstrationSequence{query, {shot}}};
  std::vector<Outcome> outcomes;
  const std::vector<DemonstrationSequence> sequences = shown_sequences(shown);
  ASSERT_EQ(sequences.size(), 2U) << "nothing is asked about what could not be selected";
  add_outcomes(set, 7, shown, scorer.score(sequences, /*judge=*/true), outcomes);
  ASSERT_EQ(outcomes.size(), 3U);
  for (const std::size_t i : {0U, 1U, 2U}) {
    EXPECT_EQ(outcomes[i].query_index, 7);
    EXPECT_EQ(outcomes[i].name, static_cast<std::int32_t>(i));
    EXPECT_EQ(outcomes[i].failed, i < 2 ? 1 : 0);
  }
  EXPECT_EQ(outcomes[2].log_likelihood, -3);
}

}  // namespace
}  // namespace saber
