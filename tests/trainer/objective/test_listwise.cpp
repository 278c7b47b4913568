#include "trainer/objective/listwise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/narrow.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/gradient_check.h"
#include "tests/support/small_model.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

constexpr double kTemperature = 0.5;
const double kNan = std::numeric_limits<double>::quiet_NaN();

class ListwiseTest : public testing::Test {
 protected:
  ListwiseTest()
      : set_(test::small_set()),
        features_(set_, torch::kFloat64),
        model_(test::small_model(features_.widths(), torch::kFloat64)) {
    test::randomise(*model_, 1, 0.3);
    library_ = set_.rows_of(Split::library);
  }
  torch::Tensor loss_sum(const Objective& objective, const std::vector<std::int64_t>& units) {
    return objective.loss_sum(model_, units);
  }
  std::int64_t library_id(std::int64_t i) const { return set_.id[to_index(library_[to_index(i)])]; }

  // One query with children `demonstrations` (places in the library) under the root, and more under the first child.
  QueryNodes nodes(std::int64_t query_number, const std::vector<double>& rewards,
                   const std::vector<double>& deeper) const {
    QueryNodes out;
    out.query = set_.id[to_index(set_.rows_of(Split::train)[to_index(query_number)])];
    const auto add = [&](std::int64_t parent, std::int64_t icd, double reward) {
      out.parent.push_back(parent);
      out.demonstration.push_back(icd);
      out.reward.push_back(reward);
      out.status.push_back(std::isnan(reward) ? NodeStatus::failed : NodeStatus::scored);
    };
    add(-1, -1, -1.0);
    for (std::int64_t i = 0; i < size_of(rewards); ++i) add(0, library_id(2 * i + 1), rewards[to_index(i)]);
    for (std::int64_t i = 0; i < size_of(deeper); ++i) add(1, library_id(2 * i + 10), deeper[to_index(i)]);
    return out;
  }
  Listwise objective(std::vector<QueryNodes> queries) const {
    const ScoreTree tree = build_score_tree(test::origin_for(set_, 2), std::move(queries));
    Listwise out(kTemperature, set_, features_);
    out.add(TreeReader(set_, tree, "tree"));
    return out;
  }
  double loss(const Listwise& objective, const std::vector<std::int64_t>& units) {
    return loss_sum(objective, units).item<double>();
  }

  // The loss of one node, by loops over numbers: prefix and children as places in the library.
  double by_hand(std::int64_t query_number, const std::vector<std::int64_t>& prefix,
                 const std::vector<std::int64_t>& children, const std::vector<double>& rewards) {
    const torch::NoGradGuard no_grad;
    const auto fused = [&](std::int64_t i) {
      return features_.fuse(model_, rows_tensor(std::vector{library_[to_index(i)]}));
    };
    torch::Tensor shots = torch::empty({0, 8}, torch::kFloat64);
    for (const std::int64_t i : prefix) shots = torch::cat({shots, fused(i)});
    const std::vector<std::int64_t> query = {set_.rows_of(Split::train)[to_index(query_number)]};
    const torch::Tensor z = model_(features_.queries(query), shots.unsqueeze(0))[0][size_of(prefix)];
    std::vector<double> logits;
    double sum_rewards = 0, sum_logits = 0, out = 0;
    for (std::size_t i = 0; i < children.size(); ++i) {
      logits.push_back(fused(children[i])[0].dot(z).item<double>());
      sum_rewards += std::exp(rewards[i] / kTemperature);
      sum_logits += std::exp(logits[i]);
    }
    for (std::size_t i = 0; i < children.size(); ++i) {
      out -= std::exp(rewards[i] / kTemperature) / sum_rewards * (logits[i] - std::log(sum_logits));
    }
    return out;
  }

  EmbeddingSet set_;
  Features features_;
  SaberModel model_;
  std::vector<std::int64_t> library_;
};

TEST_F(ListwiseTest, EqualsAHandComputation) {
  const Listwise objective = this->objective({nodes(0, {-1, -0.5, -2}, {-0.3, -0.9})});
  ASSERT_EQ(objective.num_units(), 2);
  EXPECT_NEAR(loss(objective, {0}), by_hand(0, {}, {1, 3, 5}, {-1, -0.5, -2}), 1e-10);
  EXPECT_NEAR(loss(objective, {1}), by_hand(0, {1}, {10, 12}, {-0.3, -0.9}), 1e-10);
}

TEST_F(ListwiseTest, FailedChildrenAreLeftOut) {
  const Listwise objective = this->objective({nodes(0, {-1, kNan, -2, -0.1}, {-0.3, kNan}), nodes(1, {kNan, -1}, {})});
  ASSERT_EQ(objective.num_units(), 1) << "a node with one scored child teaches nothing";
  EXPECT_NEAR(loss(objective, {0}), by_hand(0, {}, {1, 5, 7}, {-1, -2, -0.1}), 1e-10);
}

TEST_F(ListwiseTest, PaddingOfShorterListsChangesNothing) {
  const Listwise objective = this->objective({nodes(0, {-1, -0.5, -2, -1.5, -0.7}, {}), nodes(1, {-0.2, -0.6}, {})});
  ASSERT_EQ(objective.num_units(), 2);
  torch::nn::Module& module = *model_;
  const auto gradients = [&](const std::vector<std::vector<std::int64_t>>& batches) {
    module.zero_grad();
    for (const auto& units : batches) loss_sum(objective, units).backward();
    std::vector<torch::Tensor> out;
    for (const auto& item : test::parameters_of(module)) {
      if (item.second.grad().defined()) out.push_back(item.second.grad().flatten().clone());
    }
    return torch::cat(out);
  };
  EXPECT_NEAR(loss(objective, {0, 1}), loss(objective, {0}) + loss(objective, {1}), 1e-10);
  EXPECT_TRUE(torch::allclose(gradients({{0, 1}}), gradients({{0}, {1}}), 1e-9, 1e-10));
}

TEST_F(ListwiseTest, GradientsMatchCentralDifferences) {
  const Listwise objective = this->objective({nodes(0, {-1, -0.5, -2}, {-0.3, -0.9})});
  test::NamedInputs parameters = test::parameters_of(*model_);
  parameters.erase("end_key");
  const std::vector<std::int64_t> units = {1};
  test::expect_gradients_match([&] { return loss_sum(objective, units); }, parameters, test::Along::random_directions);
}

TEST_F(ListwiseTest, GroupsByDepth) {
  const ScoreTree tree = test::small_tree(set_);
  Listwise objective(kTemperature, set_, features_);
  objective.add(TreeReader(set_, tree, "tree"));
  const auto groups = objective.groups();
  ASSERT_EQ(groups.size(), 3U);
  std::int64_t all = 0;
  for (std::size_t depth = 0; depth < groups.size(); ++depth) {
    EXPECT_FALSE(groups[depth].empty());
    for (const std::int64_t unit : groups[depth]) {
      const std::string name = objective.sample_name(unit);
      const auto slashes = std::count(name.begin(), name.end(), '/');
      EXPECT_EQ(depth == 0 ? name.back() == '/' : slashes == static_cast<std::int64_t>(depth), true) << name;
      ++all;
    }
  }
  EXPECT_EQ(all, objective.num_units());
  EXPECT_THROW(loss_sum(objective, std::vector{groups[0][0], groups[1][0]}), Error);
}

TEST_F(ListwiseTest, NamesAndFingerprintTellUnitsApart) {
  const Listwise a = objective({nodes(0, {-1, -0.5}, {-0.3, -0.9})}),
                 b = objective({nodes(0, {-1, -0.5}, {-0.3, -0.8})});
  const std::int64_t query = set_.id[to_index(set_.rows_of(Split::train)[0])];
  EXPECT_EQ(a.sample_name(0), std::to_string(query) + "/");
  EXPECT_EQ(a.sample_name(1), std::to_string(query) + "/" + std::to_string(library_id(1)));
  EXPECT_EQ(a.fingerprint(), objective({nodes(0, {-1, -0.5}, {-0.3, -0.9})}).fingerprint());
  EXPECT_NE(a.fingerprint(), b.fingerprint());
}

}  // namespace
}  // namespace saber
