#include "trainer/search/selector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/log.h"
#include "core/narrow.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/gradient_check.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

using Rows = std::vector<std::int64_t>;

SaberModel random_model(const Features& features, const std::string& kind = "saber") {
  ModelSettings settings;
  settings.kind = kind;
  settings.width = 8;
  settings.heads = 2;
  settings.max_shots = 3;
  SaberModel model(settings, features.widths(), 1);
  test::randomise(*model, 2, 0.3);
  return model;
}

class SelectorTest : public testing::Test {
 protected:
  explicit SelectorTest(std::int64_t picture_size = 0)
      : set_(test::small_set(sizes(picture_size))), features_(set_, torch::kFloat32) {
    for (const Split split : {Split::train, Split::validation, Split::test}) {
      for (const std::int64_t row : set_.rows_of(split)) queries_.push_back(row);
    }
    spdlog::set_level(spdlog::level::err);  // warnings about more shots than positions are wanted here
  }
  ~SelectorTest() override { spdlog::set_level(spdlog::level::info); }
  static test::SmallSetSizes sizes(std::int64_t picture_size) {
    test::SmallSetSizes out;
    out.picture_size = picture_size;
    return out;
  }
  std::vector<Selection> select(SaberModel model, const Rows& rows, std::int64_t shots) const {
    return Selector(std::move(model), set_, features_).select(set_, features_, rows, shots);
  }
  // One query at a time, all candidates compared one by one.
  Selection by_hand(SaberModel model, std::int64_t query, std::int64_t shots) const {
    const torch::NoGradGuard no_grad;
    Selection out;
    torch::Tensor chosen = torch::empty({1, 0, 8});
    for (std::int64_t i = 0; i < shots; ++i) {
      const torch::Tensor z = model(features_.queries(Rows{query}), chosen)[0][i];
      double best = -1e30, sum = 0;
      std::int64_t best_row = -1;
      for (const std::int64_t row : set_.rows_of(Split::library)) {
        const bool used = std::find(out.rows.begin(), out.rows.end(), row) != out.rows.end();
        if (used || set_.same_picture(row, query)) continue;
        const double logit = features_.fuse(model, rows_tensor(Rows{row}))[0].dot(z).item<double>();
        sum += std::exp(logit);
        if (logit > best) {
          best = logit;
          best_row = row;
        }
      }
      out.rows.push_back(best_row);
      out.log_probabilities.push_back(best - std::log(sum));
      chosen = torch::cat({chosen, features_.fuse(model, rows_tensor(Rows{best_row})).unsqueeze(0)}, 1);
    }
    return out;
  }

  EmbeddingSet set_;
  Features features_;
  Rows queries_;
};

class SelectorWithPixels : public SelectorTest {
 protected:
  SelectorWithPixels() : SelectorTest(8) {}
};

TEST_F(SelectorTest, GreedyEqualsTryingEverything) {
  for (const std::string kind : {"saber", "plain"}) {
    const SaberModel model = random_model(features_, kind);
    const std::vector<Selection> found = select(model, queries_, 3);
    ASSERT_EQ(found.size(), queries_.size());
    for (std::size_t q = 0; q < queries_.size(); ++q) {
      const Selection wanted = by_hand(model, queries_[q], 3);
      EXPECT_EQ(found[q].rows, wanted.rows) << kind << q;
      for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_NEAR(found[q].log_probabilities[i], wanted.log_probabilities[i], 1e-5);
      }
    }
  }
}

TEST_F(SelectorTest, NeverRepeatsAndNeverShowsTheQuerysPicture) {
  Selector selector(random_model(features_), set_, features_);
  // All rows that the queries with the fullest restriction may use: the last choice is forced.
  const std::vector<Selection> found = selector.select(set_, features_, queries_, 38);
  for (std::size_t q = 0; q < queries_.size(); ++q) {
    const Rows& rows = found[q].rows;
    EXPECT_EQ(std::set<std::int64_t>(rows.begin(), rows.end()).size(), 38U);
    for (const std::int64_t row : rows) {
      EXPECT_FALSE(set_.same_picture(row, queries_[q]));
      EXPECT_EQ(set_.split[index_of(row)], Split::library);
    }
  }
}

TEST_F(SelectorWithPixels, NeverShowsTheQuerysPicture) {
  const std::vector<Selection> found = select(random_model(features_), queries_, 38);
  for (std::size_t q = 0; q < queries_.size(); ++q) {
    for (const std::int64_t row : found[q].rows) EXPECT_FALSE(set_.same_picture(row, queries_[q]));
  }
}

TEST_F(SelectorTest, EmptyUrisAreNoPicture) {
  for (std::string& uri : set_.image_uri) uri.clear();
  EXPECT_EQ(select(random_model(features_), queries_, 40)[0].rows.size(), 40U);
}

TEST_F(SelectorTest, ResultsDoNotDependOnTheOtherQueries) {
  const SaberModel model = random_model(features_);
  Rows many;
  for (std::size_t i = 0; i < 150; ++i) many.push_back(queries_[i * i % queries_.size()]);
  const std::vector<Selection> together = select(model, many, 4);
  ASSERT_EQ(together.size(), many.size());
  for (std::size_t i = 0; i < 150; i += 7) {
    const Selection alone = select(model, {many[i]}, 4)[0];
    EXPECT_EQ(together[i].rows, alone.rows) << i;
    EXPECT_EQ(together[i].log_probabilities, alone.log_probabilities) << i << ": bit for bit";
  }
}

TEST_F(SelectorTest, MoreShotsThanTheLibraryHasAreRefused) {
  testing_data::expect_bad_input({"41 shots", "40 rows"}, [&] { select(random_model(features_), queries_, 41); });
}

TEST_F(SelectorTest, QueriesMayComeFromAnotherFile) {
  EmbeddingSet foreign = test::small_set({}, 5);
  foreign.query_result.clear();
  foreign.text_result.clear();
  const Features query_features(foreign, torch::kFloat32);
  Selector selector(random_model(features_), set_, features_);
  const Rows rows = {0, 1, 2};
  for (const Selection& selection : selector.select(foreign, query_features, rows, 3)) {
    EXPECT_EQ(selection.rows.size(), 3U);
    for (const std::int64_t row : selection.rows) EXPECT_EQ(set_.split[index_of(row)], Split::library);
  }
  // Row 1 of the other file shows "picture-0", as do rows 0 and 1 of the library's file.
  for (const std::int64_t row : selector.select(foreign, query_features, rows, 38)[1].rows) EXPECT_GT(row, 1);
}

}  // namespace
}  // namespace saber
