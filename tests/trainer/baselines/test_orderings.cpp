#include "trainer/baselines/orderings.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/support/fake_scorer.h"

namespace saber {
namespace {

using RowsByQuery = std::vector<std::vector<double>>;

TEST(Orders, AllOfThemInLexicographicOrder) {
  EXPECT_EQ(all_orderings({9, 2, 5}),
            (std::vector<Ordering>{{2, 5, 9}, {2, 9, 5}, {5, 2, 9}, {5, 9, 2}, {9, 2, 5}, {9, 5, 2}}));
  EXPECT_EQ(all_orderings({4}), std::vector<Ordering>{{4}});
}

TEST(Orders, TheFairestHaveTheLargestEntropy) {
  // ln 2, 0.325, 0.673, ln 2, and a certain answer, whose entropy is 0 and no NaN.
  const RowsByQuery content_free = {{0.5, 0.5}, {0.9, 0.1}, {0.6, 0.4}, {0.5, 0.5}, {1, 0}};
  EXPECT_EQ(fairest_orderings(content_free, 3), (std::vector<std::size_t>{0, 3, 2}));
  EXPECT_EQ(fairest_orderings(content_free, 9), (std::vector<std::size_t>{0, 3, 2, 1, 4}));
}

TEST(Orders, TheMostInfluentialRaisesItsOwnAnswerMost) {
  const RowsByQuery content_free = {{0.9, 0.1}, {0.6, 0.4}};
  // 0.05 against 0.10.
  EXPECT_EQ(
      most_influential_ordering(std::vector<std::size_t>{1, 0}, content_free, RowsByQuery{{0.7, 0.3}, {0.95, 0.05}}),
      1U);
  // 0.10 against 1 - 0.1: each order's own answer counts.
  EXPECT_EQ(most_influential_ordering(std::vector<std::size_t>{1, 0}, content_free, RowsByQuery{{0.7, 0.3}, {0, 1}}),
            0U);
  // Equal ones: the first place.
  EXPECT_EQ(most_influential_ordering(std::vector<std::size_t>{1, 0}, RowsByQuery{{0.5, 0.5}, {0.5, 0.5}},
                                      RowsByQuery{{0.75, 0.25}, {0.75, 0.25}}),
            1U);
}

// Rows 1 and 2; answers x and y.
class InfluenceOrdering : public testing::Test {
 protected:
  std::optional<Ordering> order() {
    return influence_ordering(scorer_, {7, {2, 1}}, 70, 1, std::vector<std::string>{"x", "y"});
  }

  test::FakeScorer scorer_{[](const DemonstrationSequence&) { return std::nullopt; }};
};

TEST_F(InfluenceOrdering, TakesTheMeanOfTheContentFreeAnswers) {
  scorer_.content_free_queries = 3;
  // Means: (1, 2) 1/2, of entropy ln 2, though two of three entropies are 0; (2, 1) 0.8.
  scorer_.answer_rule = [](const DemonstrationSequence& asked, std::optional<std::int64_t> content_free) {
    const bool first = asked.shots == Ordering{1, 2};
    if (!content_free) return first ? std::vector{0.9, 0.1} : std::vector{0.0, 1.0};
    if (!first) return std::vector{0.8, 0.2};
    return std::vector<std::vector<double>>{{1, 0}, {0.5, 0.5}, {0, 1}}[static_cast<std::size_t>(*content_free)];
  };
  // 0.9 - 0.5 = 0.4 against 1 - 0.2 = 0.8.
  EXPECT_EQ(order(), (Ordering{2, 1}));
  EXPECT_EQ(scorer_.asked.size(), 2U * 3U + 2U);
  EXPECT_TRUE(scorer_.calls.empty()) << "the right answer is not asked for";
}

TEST_F(InfluenceOrdering, WhereTheLvlmFailsThereIsNone) {
  for (const bool in_first_stage : {true, false}) {
    scorer_.answer_rule = [&](const DemonstrationSequence& asked, std::optional<std::int64_t> content_free) {
      const bool fails = asked.shots == Ordering{2, 1} && content_free.has_value() == in_first_stage;
      return fails ? std::vector<double>() : std::vector{0.5, 0.5};
    };
    EXPECT_EQ(order(), std::nullopt);
  }
  scorer_.content_free_queries = 0;
  EXPECT_THROW(order(), Error);
}

TEST_F(InfluenceOrdering, OfManyOrdersAHundredAreDrawn) {
  const auto asked_for = [&](std::int64_t seed) {
    scorer_.asked.clear();
    scorer_.answer_rule = [](const DemonstrationSequence&, std::optional<std::int64_t>) {
      return std::vector{0.5, 0.5};
    };
    const auto found = influence_ordering(scorer_, {7, {1, 2, 3, 4, 5}}, 70, seed, std::vector<std::string>{"x", "y"});
    EXPECT_EQ(found, scorer_.asked.front().shots) << "all are equal: the first";
    std::vector<Ordering> orders;
    for (const DemonstrationSequence& sequence : scorer_.asked) orders.push_back(sequence.shots);
    return orders;
  };
  const std::vector<Ordering> orders = asked_for(1);
  EXPECT_EQ(orders.size(), 104U);
  EXPECT_GT(std::set(orders.begin(), orders.end()).size(), 50U);
  EXPECT_EQ(asked_for(1), orders);
  EXPECT_NE(asked_for(2), orders);
}

}  // namespace
}  // namespace saber
