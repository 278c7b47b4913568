#include "trainer/search/sequence_probability.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "tests/support/gradient_check.h"
#include "tests/support/small_model.h"
#include "tests/support/small_world.h"
#include "trainer/baselines/orderings.h"
#include "trainer/search/selector.h"

namespace saber {
namespace {

class ListScore : public testing::Test {
 protected:
  ListScore()
      : set_(test::small_set()), features_(set_, torch::kFloat32), library_(set_), head_(library_, features_, {}) {
    query_ = set_.rows_of(Split::validation)[0];
    other_ = set_.rows_of(Split::test)[0];
    for (const std::int64_t row : library_.rows()) {
      if (!set_.same_picture(row, query_) && !set_.same_picture(row, other_)) rows_.push_back(row);
    }
  }
  SaberModel random_model() const {
    SaberModel model = test::small_model(features_.widths());
    test::randomise(*model, 2, 0.3);
    return model;
  }
  std::vector<double> scores(SaberModel model, const std::vector<DemonstrationSequence>& sequences) const {
    return sequence_log_probabilities(model, head_, features_, head_.keys(model), sequences);
  }
  // One position after the other, all items compared one by one.
  double by_hand(SaberModel model, const DemonstrationSequence& sequence) const {
    const torch::NoGradGuard no_grad;
    double out = 0;
    torch::Tensor before = torch::empty({1, 0, 8});
    std::vector<std::int64_t> used;
    for (const std::int64_t shot : sequence.shots) {
      const torch::Tensor z = model(features_.queries(std::vector{sequence.query}), before)[0][before.size(1)];
      double sum = 0, chosen = 0;
      for (const std::int64_t row : library_.rows()) {
        if (std::find(used.begin(), used.end(), row) != used.end() || set_.same_picture(row, sequence.query)) continue;
        const double logit = features_.fuse(model, rows_tensor(std::vector{row}))[0].dot(z).item<double>();
        sum += std::exp(logit);
        if (row == shot) chosen = logit;
      }
      out += chosen - std::log(sum);
      used.push_back(shot);
      before = torch::cat({before, features_.fuse(model, rows_tensor(std::vector{shot})).unsqueeze(0)}, 1);
    }
    return out;
  }

  EmbeddingSet set_;
  Features features_;
  Library library_;
  LibraryHead head_;
  std::int64_t query_ = 0, other_ = 0;
  std::vector<std::int64_t> rows_;  // of the library that both may use
};

TEST_F(ListScore, EqualsASoftmaxAtEachPosition) {
  SaberModel model = random_model();
  const auto& rows = rows_;
  const std::vector<DemonstrationSequence> sequences = {{query_, {rows[3], rows[10], rows[7]}},
                                                        {query_, {rows[7], rows[10], rows[3]}},
                                                        {other_, {rows[20], rows[3], rows[4]}}};
  const std::vector<double> found = scores(model, sequences);
  for (std::size_t i = 0; i < sequences.size(); ++i) EXPECT_NEAR(found[i], by_hand(model, sequences[i]), 1e-4) << i;
  EXPECT_GT(std::abs(found[0] - found[1]), 1e-4) << "the order counts";
  EXPECT_TRUE(scores(model, {}).empty());
}

TEST_F(ListScore, AgreesWithTheSelector) {
  SaberModel model = random_model();
  SelectOptions options;
  options.shots = 3;
  const Selection chosen = Selector(model, head_, options).select(set_, features_, std::vector{query_})[0];
  double sum = 0;
  for (const double log_p : chosen.log_probabilities) sum += log_p;
  std::vector<DemonstrationSequence> orders;
  for (const Ordering& order : all_orderings(chosen.rows)) orders.push_back({query_, order});
  const std::vector<double> found = scores(model, orders);
  EXPECT_NEAR(scores(model, {{query_, chosen.rows}})[0], sum, 1e-4);
  EXPECT_GE(*std::max_element(found.begin(), found.end()), sum - 1e-4);
}

// An untrained SabER chooses each item by its similarity to the query, whatever came before: the most probable order
// shows the most probable item first.
TEST_F(ListScore, AnUntrainedModelLikesTheMostProbableFirst) {
  SaberModel model = test::small_model(features_.widths());
  std::vector<std::pair<double, std::int64_t>> single;
  const auto& rows = rows_;
  for (const std::int64_t row : {rows[3], rows[10], rows[7]})
    single.emplace_back(-scores(model, {{query_, {row}}})[0], row);
  std::sort(single.begin(), single.end());
  std::vector<DemonstrationSequence> orders;
  for (const Ordering& order : all_orderings({rows[3], rows[10], rows[7]})) orders.push_back({query_, order});
  const std::vector<double> found = scores(model, orders);
  const auto best = orders[static_cast<std::size_t>(std::max_element(found.begin(), found.end()) - found.begin())];
  EXPECT_EQ(best.shots, (Ordering{single[0].second, single[1].second, single[2].second}));
}

}  // namespace
}  // namespace saber
