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
    SelectOptions options;
    options.shots = shots;
    return select_with(std::move(model), rows, options);
  }
  std::vector<Selection> select_with(SaberModel model, const Rows& rows, const SelectOptions& options) const {
    return select_from(std::move(model), options, set_, features_, rows);
  }
  // Chooses from the library of set_ for rows of another set.
  std::vector<Selection> select_from(SaberModel model, const SelectOptions& options, const EmbeddingSet& queries,
                                     const Features& query_features, const Rows& rows) const {
    const Library library(set_);
    const LibraryHead head(library, features_, {});
    return Selector(std::move(model), head, options).select(queries, query_features, rows);
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
  // All rows that the queries with the fullest restriction may use: the last choice is forced.
  const std::vector<Selection> found = select(random_model(features_), queries_, 38);
  for (std::size_t q = 0; q < queries_.size(); ++q) {
    const Rows& rows = found[q].rows;
    EXPECT_EQ(std::set<std::int64_t>(rows.begin(), rows.end()).size(), 38U);
    for (const std::int64_t row : rows) {
      EXPECT_FALSE(set_.same_picture(row, queries_[q]));
      EXPECT_EQ(set_.split[to_index(row)], Split::library);
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
  testing_data::expect_bad_input({"41 demonstrations", "query", "40 library rows"},
                                 [&] { select(random_model(features_), queries_, 41); });
}

TEST_F(SelectorTest, QueriesMayComeFromAnotherFile) {
  EmbeddingSet foreign = test::small_set({}, 5);
  foreign.query_result.clear();
  foreign.text_result.clear();
  const Features query_features(foreign, torch::kFloat32);
  const auto select_foreign = [&](std::int64_t shots) {
    SelectOptions options;
    options.shots = shots;
    const Rows rows = {0, 1, 2};
    return select_from(random_model(features_), options, foreign, query_features, rows);
  };
  for (const Selection& selection : select_foreign(3)) {
    EXPECT_EQ(selection.rows.size(), 3U);
    for (const std::int64_t row : selection.rows) EXPECT_EQ(set_.split[to_index(row)], Split::library);
  }
  // Row 1 of the other file shows "picture-0", as do rows 0 and 1 of the library's file.
  const std::vector<Selection> nearly_all = select_foreign(38);
  for (const std::int64_t row : nearly_all[1].rows) EXPECT_GT(row, 1);
}

// Probability of a whole sequence, from one forward pass per prefix.
double log_probability(const Selection& selection) {
  double sum = 0;
  for (const double log_p : selection.log_probabilities) sum += log_p;
  return sum;
}

TEST_F(SelectorTest, AWideBeamFindsTheBestOfAllSequences) {
  SaberModel model = random_model(features_);
  SelectOptions wide;
  wide.shots = 2;
  wide.beam = 40;  // as many as there are items: nothing is cut off
  const std::vector<Selection> found = select_with(model, queries_, wide), greedy = select(model, queries_, 2);
  std::int64_t better = 0;
  for (std::size_t q = 0; q < queries_.size(); ++q) {
    const torch::NoGradGuard no_grad;
    // All pairs, in float64 sums of the model's own float32 log-probabilities.
    const Library library(set_);
    const Rows query = {queries_[q]};
    const torch::Tensor keys = features_.fuse(model, rows_tensor(library.rows()));
    const torch::Tensor own = library.own_pictures(set_, query, {0, library.size()})[0];
    const auto policy = [&](const Rows& prefix) {
      torch::Tensor unusable = own.clone();
      for (const std::int64_t item : prefix) unusable[item] = true;
      const torch::Tensor shots = keys.index_select(0, rows_tensor(prefix)).unsqueeze(0);
      const torch::Tensor z = model(features_.queries(query), shots)[0][size_of(prefix)];
      return torch::matmul(keys, z).masked_fill(unusable, -1e30).log_softmax(0).to(torch::kFloat64);
    };
    const torch::Tensor first = policy({});
    double best = -1e30;
    for (std::int64_t item = 0; item < library.size(); ++item) {
      if (!own[item].item<bool>())
        best = std::max(best, first[item].item<double>() + policy({item}).max().item<double>());
    }
    EXPECT_NEAR(log_probability(found[q]), best, 1e-4);
    if (log_probability(found[q]) > log_probability(greedy[q]) + 1e-6) ++better;
  }
  EXPECT_GT(better, 0) << "greedy is not always best";
}

TEST_F(SelectorTest, ABeamOfThreeIsAtLeastAsGoodAsGreedyAndDoesNotDependOnTheBatch) {
  const SaberModel model = random_model(features_);
  SelectOptions beam;
  beam.beam = 3;
  const std::vector<Selection> together = select_with(model, queries_, beam), greedy = select(model, queries_, 4);
  double sum = 0, greedy_sum = 0;
  for (std::size_t q = 0; q < queries_.size(); ++q) {
    const Selection alone = select_with(model, {queries_[q]}, beam)[0];
    EXPECT_EQ(alone.rows, together[q].rows);
    EXPECT_EQ(alone.log_probabilities, together[q].log_probabilities);
    EXPECT_EQ(std::set<std::int64_t>(alone.rows.begin(), alone.rows.end()).size(), 4U);
    sum += log_probability(alone);
    greedy_sum += log_probability(greedy[q]);
  }
  EXPECT_GE(sum, greedy_sum - 1e-6);
}

TEST_F(SelectorTest, ConstraintsAreKept) {
  for (const std::int64_t beam : {1, 3}) {
    SelectOptions options;
    options.beam = beam;
    options.same_task = options.distinct_pictures = options.distinct_answers = true;
    options.excluded = {set_.id[to_index(set_.rows_of(Split::library)[5])],
                        set_.id[to_index(set_.rows_of(Split::library)[8])]};
    const std::vector<Selection> found = select_with(random_model(features_), queries_, options);
    for (std::size_t q = 0; q < queries_.size(); ++q) {
      std::set<std::string> answers, pictures;
      for (const std::int64_t row : found[q].rows) {
        EXPECT_EQ(set_.task[to_index(row)], set_.task[to_index(queries_[q])]);
        EXPECT_TRUE(answers.insert(set_.text_result[to_index(row)]).second);
        EXPECT_TRUE(pictures.insert(set_.image_uri[to_index(row)]).second);
        EXPECT_EQ(std::count(options.excluded.begin(), options.excluded.end(), set_.id[to_index(row)]), 0);
      }
    }
  }
}

TEST_F(SelectorTest, AModelThatGivesNoNumbersIsAnError) {
  SaberModel model = random_model(features_);
  const torch::NoGradGuard no_grad;
  model->named_parameters()["log_scale"].fill_(std::nan(""));
  testing_data::expect_error(ErrorKind::internal, {"no numbers"}, [&] { select(model, queries_, 2); });
}

TEST_F(SelectorTest, EachConstraintMatters) {
  const SaberModel model = random_model(features_);
  const auto broken = [&](const SelectOptions& options, const auto& breaks) {
    std::int64_t count = 0;
    const std::vector<Selection> found = select_with(model, queries_, options);
    for (std::size_t q = 0; q < queries_.size(); ++q) {
      for (std::size_t i = 0; i < found[q].rows.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) count += breaks(queries_[q], found[q].rows[i], found[q].rows[j]) ? 1 : 0;
      }
    }
    return count;
  };
  const auto other_task = [&](auto query, auto a, auto) {
    return set_.task[to_index(a)] != set_.task[to_index(query)];
  };
  const auto same_picture = [&](auto, auto a, auto b) { return set_.same_picture(a, b); };
  const auto same_answer = [&](auto, auto a, auto b) {
    return set_.text_result[to_index(a)] == set_.text_result[to_index(b)];
  };
  SelectOptions free, task, picture, answer;
  task.same_task = picture.distinct_pictures = answer.distinct_answers = true;
  free.shots = picture.shots = 12;
  task.shots = 12;
  EXPECT_GT(broken(free, other_task), 0);
  EXPECT_EQ(broken(task, other_task), 0);
  EXPECT_GT(broken(free, same_picture), 0);
  EXPECT_EQ(broken(picture, same_picture), 0);
  EXPECT_GT(broken(free, same_answer), 0);
  EXPECT_EQ(broken(answer, same_answer), 0);
}

TEST_F(SelectorTest, ConstraintsThatCannotBeMetAreRefused) {
  SelectOptions options;
  options.distinct_answers = true;
  options.shots = 6;  // five answers in all
  testing_data::expect_bad_input({"6 demonstrations", "select.shots", "fewer constraints"},
                                 [&] { select_with(random_model(features_), queries_, options); });
  // Four items are left: a beam of eight must not fill up with others.
  SelectOptions few;
  const Rows library = set_.rows_of(Split::library);
  for (std::size_t i = 0; i < library.size(); ++i) {
    if (i < 10 || i > 13) few.excluded.push_back(set_.id[to_index(library[i])]);
  }
  few.beam = 8;
  few.shots = 3;
  for (const Selection& selection : select_with(random_model(features_), {queries_[0]}, few)) {
    for (const std::int64_t row : selection.rows) EXPECT_TRUE(row >= library[10] && row <= library[13]);
  }
  few.shots = 5;
  testing_data::expect_bad_input({"5 demonstrations"},
                                 [&] { select_with(random_model(features_), {queries_[0]}, few); });
  // Three items of one answer are left: a beam that fills up with excluded ones must not win with them.
  SelectOptions alike;
  alike.distinct_answers = true;
  alike.shots = 2;
  alike.beam = 16;
  std::int64_t kept = 0;
  for (const std::int64_t row : library) {
    const bool keep = set_.text_result[to_index(row)] == "w0" && !set_.same_picture(row, queries_[0]) && kept < 3;
    if (!keep) alike.excluded.push_back(set_.id[to_index(row)]);
    kept += keep ? 1 : 0;
  }
  ASSERT_EQ(kept, 3);
  testing_data::expect_bad_input({"2 demonstrations"},
                                 [&] { select_with(random_model(features_), {queries_[0]}, alike); });
  SelectOptions excluding;
  excluding.excluded = {5};
  testing_data::expect_bad_input({"select.exclude", "holds 5"},
                                 [&] { select_with(random_model(features_), queries_, excluding); });
}

}  // namespace
}  // namespace saber
