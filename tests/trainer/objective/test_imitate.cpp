#include "trainer/objective/imitate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/narrow.h"
#include "tests/support/gradient_check.h"
#include "tests/support/small_model.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

class ImitateTest : public testing::Test {
 protected:
  ImitateTest()
      : set_(test::small_set()),
        features_(set_, torch::kFloat64),
        model_(test::small_model(features_.widths(), torch::kFloat64)) {
    test::randomise(*model_, 1, 0.3);
    library_ = set_.rows_of(Split::library);
    query_ = set_.rows_of(Split::train)[0];
  }
  torch::Tensor loss_sum(const Objective& objective, const std::vector<std::int64_t>& units) {
    return objective.loss_sum(model_, units);
  }
  std::int64_t id(std::int64_t row) const { return set_.id[to_index(row)]; }

  // Every ordered pair of the first four library rows, with the given rewards (in the order 01 02 03 10 12 ...).
  ScoreTree pairs(const std::vector<double>& rewards) const {
    QueryNodes nodes;
    nodes.query = id(query_);
    const auto add = [&](std::int64_t parent, std::int64_t icd, double reward) {
      nodes.parent.push_back(parent);
      nodes.demonstration.push_back(icd);
      nodes.reward.push_back(reward);
      nodes.status.push_back(std::isnan(reward) ? NodeStatus::failed : NodeStatus::scored);
      return nodes.size() - 1;
    };
    add(-1, -1, -3);
    std::size_t next = 0;
    for (std::int64_t a = 0; a < 4; ++a) {
      const std::int64_t parent = add(0, id(library_[to_index(a)]), 100);  // incomplete, however good
      for (std::int64_t b = 0; b < 4; ++b) {
        if (a != b) add(parent, id(library_[to_index(b)]), rewards.at(next++));
      }
    }
    return build_score_tree(test::origin_for(set_, 2), {nodes});
  }
  Imitate objective(const ScoreTree& tree, double temperature) const {
    Imitate out(temperature, set_, features_);
    out.add(TreeReader(set_, tree, "tree"));
    return out;
  }
  std::string name(std::int64_t a, std::int64_t b) const {
    return std::to_string(id(query_)) + "/" + std::to_string(id(library_[to_index(a)])) + "/" +
           std::to_string(id(library_[to_index(b)]));
  }

  // Mean over the targets a, b, [EOS] of -log softmax over the library without the prefix, and [EOS].
  double by_hand(const std::vector<std::int64_t>& items) {
    const torch::NoGradGuard no_grad;
    const torch::Tensor keys = features_.fuse(model_, rows_tensor(library_));
    std::vector<std::int64_t> rows;
    for (const std::int64_t i : items) rows.push_back(library_[to_index(i)]);
    const torch::Tensor shots = features_.fuse(model_, rows_tensor(rows)).unsqueeze(0);
    const torch::Tensor z = model_(features_.queries(std::vector{query_}), shots)[0];
    double loss = 0;
    for (std::int64_t i = 0; i <= size_of(items); ++i) {
      const double end = model_->end_key().dot(z[i]).item<double>();
      double sum = std::exp(end);
      for (std::int64_t k = 0; k < size_of(library_); ++k) {
        const bool used = std::find(items.begin(), items.begin() + i, k) != items.begin() + i;
        if (!used) sum += std::exp(keys[k].dot(z[i]).item<double>());
      }
      const double target = i == size_of(items) ? end : keys[items[to_index(i)]].dot(z[i]).item<double>();
      loss -= target - std::log(sum);
    }
    return loss / static_cast<double>(items.size() + 1);
  }

  EmbeddingSet set_;
  Features features_;
  SaberModel model_;
  std::vector<std::int64_t> library_;
  std::int64_t query_ = 0;
};

// 0-1 is the best, then 3-2, 2-0, 1-3 (-0.4); 0-2 failed.
const std::vector<double> kRewards = {-0.1, std::nan(""), -5, -6, -7, -0.4, -0.3, -8, -9, -10, -11, -0.2};

TEST_F(ImitateTest, TakesTheBest2NCompleteSequences) {
  const Imitate objective = this->objective(pairs(kRewards), 0);
  ASSERT_EQ(objective.num_units(), 4);
  std::set<std::string> names;
  for (std::int64_t unit = 0; unit < 4; ++unit) names.insert(objective.sample_name(unit));
  EXPECT_EQ(names, (std::set<std::string>{name(0, 1), name(3, 2), name(2, 0), name(1, 3)}));
  const auto groups = objective.groups();
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups[2].size(), 4U);
}

TEST_F(ImitateTest, EqualsAHandComputation) {
  const Imitate objective = this->objective(pairs(kRewards), 0);
  const auto loss = [&](const std::vector<std::int64_t>& units) { return loss_sum(objective, units).item<double>(); };
  EXPECT_NEAR(loss({0}), by_hand({0, 1}), 1e-10);  // best first
  EXPECT_NEAR(loss({1}), by_hand({3, 2}), 1e-10);
  EXPECT_NEAR(loss({0, 1, 2, 3}), by_hand({0, 1}) + by_hand({3, 2}) + by_hand({2, 0}) + by_hand({1, 3}), 1e-9);
}

TEST_F(ImitateTest, ATemperatureWeightsTheSequencesOfAQuery) {
  const double temperature = 0.2;
  const Imitate objective = this->objective(pairs(kRewards), temperature);
  double total = 0;
  for (const double reward : {-0.1, -0.2, -0.3, -0.4}) total += std::exp(reward / temperature);
  const std::vector<std::int64_t> third = {2};
  EXPECT_NEAR(loss_sum(objective, third).item<double>(), 4 * std::exp(-0.3 / temperature) / total * by_hand({2, 0}),
              1e-9);
  EXPECT_NE(objective.fingerprint(), this->objective(pairs(kRewards), 0).fingerprint());
}

TEST_F(ImitateTest, GradientsMatchCentralDifferencesAndReachTheEndKey) {
  const Imitate objective = this->objective(pairs(kRewards), 0.2);
  const std::vector<std::int64_t> units = {0, 2};
  test::expect_gradients_match([&] { return loss_sum(objective, units); }, test::parameters_of(*model_),
                               test::Along::random_directions);
}

}  // namespace
}  // namespace saber
