#include "trainer/search/sample.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "core/narrow.h"
#include "core/random.h"
#include "tests/support/gradient_check.h"
#include "tests/support/small_model.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

class SampleTest : public testing::Test {
 protected:
  SampleTest()
      : set_(test::small_set()),
        features_(set_, torch::kFloat64),
        library_(set_),
        head_(library_, features_, {}),
        model_(test::small_model(features_.widths(), torch::kFloat64)) {
    test::randomise(*model_, 1, 0.2);
    const torch::NoGradGuard no_grad;
    keys_ = features_.fuse(model_, rows_tensor(library_.rows()));
  }
  torch::Tensor sample(const std::vector<Draw>& draws, const DrawSettings& settings) {
    return sample_sequences(model_, head_, features_, keys_, draws, settings);
  }
  std::vector<Draw> draws(std::int64_t count) const {
    std::vector<Draw> out;
    for (const std::int64_t query : set_.rows_of(Split::train)) {
      for (std::int64_t number = 0; number < count; ++number) out.push_back({query, number});
    }
    return out;
  }

  EmbeddingSet set_;
  Features features_;
  Library library_;
  LibraryHead head_;
  SaberModel model_;
  torch::Tensor keys_;
};

TEST_F(SampleTest, ASequenceDoesNotDependOnTheOthersOfItsBatch) {
  const std::vector<Draw> all = draws(4);
  const torch::Tensor together = sample(all, {7, 3, 3});
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(torch::equal(sample({all[i]}, {7, 3, 3})[0], together[static_cast<std::int64_t>(i)])) << i;
  }
  const std::vector<Draw> reversed(all.rbegin(), all.rend());
  EXPECT_TRUE(torch::equal(sample(reversed, {7, 3, 3}).flip(0), together));
}

TEST_F(SampleTest, TheNoiseIsKeyedAsDocumented) {
  const std::vector<Draw> all = draws(3);
  const torch::Tensor items = sample(all, {7, 3, 2});
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::vector<std::int64_t> query = {all[i].query_row};
    torch::Tensor prefix = torch::empty({1, 0, keys_.size(1)}, torch::kFloat64);
    std::set<std::int64_t> used;
    for (std::int64_t position = 0; position < 2; ++position) {
      const torch::Tensor logits = torch::matmul(keys_, model_(features_.queries(query), prefix)[0][position]);
      const RandomStream stream(7, "sample", {3, set_.id[to_index(query[0])], all[i].number, position});
      double best = -1e30;
      std::int64_t chosen = -1;
      for (std::int64_t item = 0; item < library_.size(); ++item) {
        const std::int64_t row = library_.rows()[to_index(item)];
        if (used.contains(item) || set_.same_picture(row, query[0])) continue;
        const double u = stream.uniform_at(static_cast<std::uint64_t>(set_.id[to_index(row)]));
        const double value = logits[item].item<double>() - std::log(-std::log(u));
        if (value > best) {
          best = value;
          chosen = item;
        }
      }
      EXPECT_EQ(items[static_cast<std::int64_t>(i)][position].item<std::int64_t>(), chosen) << i << " " << position;
      used.insert(chosen);
      prefix = torch::cat({prefix, keys_[chosen].view({1, 1, -1})}, 1);
    }
  }
}

TEST_F(SampleTest, SeedStepNumberAndPositionMatter) {
  const std::vector<Draw> all = draws(4);
  const torch::Tensor base = sample(all, {7, 3, 3});
  EXPECT_TRUE(torch::equal(sample(all, {7, 3, 3}), base));
  EXPECT_FALSE(torch::equal(sample(all, {8, 3, 3}), base));
  EXPECT_FALSE(torch::equal(sample(all, {7, 4, 3}), base));
  std::set<std::vector<std::int64_t>> distinct;
  for (std::int64_t i = 0; i < 4; ++i) {
    const torch::Tensor row = base[i].contiguous();
    distinct.emplace(row.data_ptr<std::int64_t>(), row.data_ptr<std::int64_t>() + 3);
  }
  EXPECT_GT(distinct.size(), 2U) << "the numbers of one query give different sequences";
}

TEST_F(SampleTest, NeverRepeatsAnItemOrShowsTheQuerysOwnPicture) {
  const std::vector<Draw> all = draws(20);
  const std::int64_t shots = 30;  // of 40 items
  const torch::Tensor items = sample(all, {1, 0, shots});
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::set<std::int64_t> seen;
    for (std::int64_t p = 0; p < shots; ++p) {
      const auto item = items[static_cast<std::int64_t>(i)][p].item<std::int64_t>();
      EXPECT_TRUE(seen.insert(item).second);
      EXPECT_FALSE(set_.same_picture(library_.rows()[to_index(item)], all[i].query_row));
    }
  }
}

TEST_F(SampleTest, FollowsTheModelsProbabilities) {
  // First and second choice of one query, 20,000 draws, against the softmax.
  constexpr std::int64_t kDraws = 20000;
  const std::int64_t query = set_.rows_of(Split::train)[0];
  std::vector<Draw> all;
  for (std::int64_t number = 0; number < kDraws; ++number) all.push_back({query, number});
  const torch::Tensor items = sample(all, {5, 0, 2});
  const torch::NoGradGuard no_grad;
  const std::vector<std::int64_t> one = {query};
  const torch::Tensor own = library_.own_pictures(set_, one, {0, library_.size()})[0];
  const auto policy = [&](const torch::Tensor& prefix, torch::Tensor unusable) {
    const torch::Tensor z =
        model_(features_.queries(one), keys_.index_select(0, prefix).unsqueeze(0))[0][prefix.numel()];
    return torch::matmul(keys_, z).masked_fill(unusable, -1e30).softmax(0);
  };
  const torch::Tensor first = policy(torch::empty({0}, torch::kInt64), own);
  torch::Tensor second = torch::zeros_like(first);
  for (std::int64_t item = 0; item < library_.size(); ++item) {
    torch::Tensor unusable = own.clone();
    unusable[item] = true;
    if (!own[item].item<bool>()) second += first[item] * policy(torch::tensor({item}), unusable);
  }
  for (std::int64_t position = 0; position < 2; ++position) {
    const torch::Tensor wanted = position == 0 ? first : second;
    const torch::Tensor seen =
        torch::bincount(items.select(1, position), {}, library_.size()).to(torch::kFloat64) / kDraws;
    for (std::int64_t item = 0; item < library_.size(); ++item) {
      const double p = wanted[item].item<double>(), deviation = std::sqrt(p * (1 - p) / kDraws);
      EXPECT_NEAR(seen[item].item<double>(), p, 5 * deviation + 1e-9) << position << " " << item;
    }
  }
}

}  // namespace
}  // namespace saber
