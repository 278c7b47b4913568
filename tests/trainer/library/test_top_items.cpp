#include "trainer/library/top_items.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "core/random.h"

namespace saber {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// By sorting, without keys.
std::vector<std::int64_t> best_by_hand(const std::vector<float>& values, std::int64_t first, std::size_t count) {
  std::vector<std::int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
    return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
  });
  order.resize(std::min(count, order.size()));
  for (std::int64_t& item : order) item += first;
  return order;
}

void expect_best(const std::vector<float>& values, std::int64_t first) {
  for (const std::int64_t count : {1, 2, 3, 7}) {
    const torch::Tensor keys = top_keys(torch::tensor(values).unsqueeze(0), first, count)[0];
    ASSERT_EQ(keys.numel(), count);
    const torch::Tensor items = items_of_keys(keys), found = values_of_keys(keys);
    const std::vector<std::int64_t> wanted = best_by_hand(values, first, static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      EXPECT_EQ(items[at].item<std::int64_t>(), wanted[i]) << count;
      EXPECT_EQ(found[at].item<float>(), values[static_cast<std::size_t>(wanted[i] - first)]) << count;
    }
  }
}

TEST(TopItems, LargerValuesThenSmallerItems) {
  expect_best({3, 1, 3, 3, -2, 3, 0, -5}, 10);
  expect_best({-1.5F, -1.5F, -2, -1.5F}, 0);
  expect_best({-0.0F, 0.0F, -0.0F, 0.0F}, 0);
  expect_best({-kInfinity, 1e-40F, -1e-40F, 3e38F, -3e38F, -kInfinity, kInfinity}, (std::int64_t{1} << 32) - 7);
  RandomStream stream(1, "top", {});
  for (int round = 0; round < 100; ++round) {
    std::vector<float> values;
    for (int i = 0; i < 50; ++i) values.push_back(static_cast<float>(stream.below(9)) - 4.0F);
    expect_best(values, round);
  }
}

// What the shards name, merged, is what one shard of everything names.
TEST(TopItems, MergingPartsGivesTheWhole) {
  torch::manual_seed(1);
  const torch::Tensor values = torch::randint(-3, 4, {20, 30}).to(torch::kFloat32);
  for (const std::int64_t count : {1, 3, 12}) {
    const torch::Tensor whole = top_keys(values, 0, count);
    for (const std::int64_t cut : {0, 1, 15, 28, 30}) {
      const torch::Tensor parts = torch::cat(
          {top_keys(values.narrow(1, cut, 30 - cut), cut, count), top_keys(values.narrow(1, 0, cut), 0, count)}, 1);
      EXPECT_TRUE(torch::equal(top_of_keys(parts, count), whole)) << count << " " << cut;
    }
  }
}

TEST(TopItems, TooFewAreFilledUpWithWhatSortsLast) {
  const torch::Tensor none = torch::full({1, 2}, -kInfinity);
  const torch::Tensor keys = top_keys(none, 5, 4);
  EXPECT_EQ(keys.size(1), 4);
  EXPECT_EQ(items_of_keys(keys)[0][0].item<std::int64_t>(), 5);
  EXPECT_EQ(items_of_keys(keys)[0][1].item<std::int64_t>(), 6);
  EXPECT_LT(keys[0][2].item<std::int64_t>(), keys[0][1].item<std::int64_t>());
  EXPECT_EQ(top_keys(torch::empty({3, 0}), 0, 1).sizes(), (std::vector<std::int64_t>{3, 1}));
}

}  // namespace
}  // namespace saber
