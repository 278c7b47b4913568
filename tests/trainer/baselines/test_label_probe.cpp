#include "trainer/baselines/label_probe.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "core/narrow.h"
#include "core/random.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

// In task t the answer is told by the picture's largest element, shifted by t.
EmbeddingSet readable_set() {
  test::SmallSetSizes sizes;
  sizes.image_width = 4;
  sizes.num_words = 4;
  sizes.library = 80;
  EmbeddingSet set = test::small_set(sizes);
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    const auto begin = set.image.begin() + row * 4;
    const std::int64_t largest = std::max_element(begin, begin + 4) - begin;
    set.text_result[to_index(row)] = fmt::format("w{}", (largest + set.task[to_index(row)]) % 4);
  }
  return set;
}

TEST(LabelProbe, ReadsTheAnswerFromThePicture) {
  const EmbeddingSet set = readable_set();
  const LabelProbe probe(set, 0.01);
  std::int64_t right = 0, all = 0;
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    if (set.split[to_index(row)] == Split::library) continue;
    const std::vector<std::string> answers = probe.ranked_answers(row);
    EXPECT_EQ(answers.size(), 4U);
    right += answers[0] == set.text_result[to_index(row)];
    ++all;
  }
  EXPECT_GE(right, all * 3 / 4) << "of " << all;
}

TEST(LabelProbe, IsRidgeRegressionByHand) {
  // One task, pictures of two numbers, two library rows: (1, 0) is "first", (0, 1) "second".
  test::SmallSetSizes sizes;
  sizes.library = 2;
  sizes.queries = 2;
  sizes.tasks = 1;
  sizes.image_width = 2;
  EmbeddingSet set = test::small_set(sizes);
  const std::vector<std::int64_t> library = set.rows_of(Split::library);
  set.text_result[to_index(library[0])] = "first";
  set.text_result[to_index(library[1])] = "second";
  const auto look = [&](std::int64_t row, float x, float y) {
    set.image[to_index(2 * row)] = x;
    set.image[to_index(2 * row + 1)] = y;
  };
  look(library[0], 1, 0);
  look(library[1], 0, 1);
  const std::int64_t query = set.rows_of(Split::train)[0];
  const LabelProbe probe(set, 1.0);
  look(query, 0.8F, 0.6F);
  EXPECT_EQ(probe.ranked_answers(query), (std::vector<std::string>{"first", "second"}));
  look(query, 0.6F, 0.8F);
  EXPECT_EQ(probe.ranked_answers(query), (std::vector<std::string>{"second", "first"}));
}

TEST(LabelProbe, NeverReadsWhatIsNoLibraryRow) {
  EmbeddingSet set = readable_set();
  std::vector<std::vector<std::string>> before, after;
  for (int round = 0; round < 2; ++round) {
    const LabelProbe probe(set, 0.1);
    for (const std::int64_t row : set.rows_of(Split::test))
      (round == 0 ? before : after).push_back(probe.ranked_answers(row));
    for (std::int64_t row = 0; row < set.num_rows; ++row) {
      if (set.split[to_index(row)] != Split::library) set.text_result[to_index(row)] = "something else";
    }
  }
  EXPECT_EQ(before, after);
}

TEST(LabelProbe, ATaskWithoutLibraryRowsHasNoAnswers) {
  EmbeddingSet set = readable_set();
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    if (set.split[to_index(row)] == Split::library) set.task[to_index(row)] = 0;
  }
  const std::int64_t query = set.rows_of(Split::train)[0];
  set.task[to_index(query)] = 1;
  EXPECT_TRUE(LabelProbe(set, 0.1).ranked_answers(query).empty());
}

// The set with its rows in another order; ids keep their rows together.
EmbeddingSet shuffled(const EmbeddingSet& set, std::uint64_t seed) {
  std::vector<std::int64_t> order(to_index(set.num_rows));
  std::iota(order.begin(), order.end(), 0);
  RandomStream(seed, "rows").shuffle(order);
  EmbeddingSet out = set;
  const std::int64_t width = set.image_width;
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    const std::int64_t from = order[to_index(row)];
    std::copy_n(set.image.begin() + from * width, width, out.image.begin() + row * width);
    out.split[to_index(row)] = set.split[to_index(from)];
    out.task[to_index(row)] = set.task[to_index(from)];
    out.text_result[to_index(row)] = set.text_result[to_index(from)];
  }
  return out;
}

TEST(LabelProbe, HasTheSameBitsForAnyOrderOfSummation) {
  test::SmallSetSizes sizes;
  sizes.library = 300;
  sizes.image_width = 24;
  const EmbeddingSet set = test::small_set(sizes);
  const LabelProbe wanted(set, 1.0, {Split::library, Split::train});
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const LabelProbe found(shuffled(set, seed), 1.0, {Split::library, Split::train});
    for (std::int64_t task = 0; task < set.num_tasks(); ++task)
      EXPECT_TRUE(torch::equal(found.weights(task), wanted.weights(task))) << "seed " << seed << ", task " << task;
  }
}

TEST(LabelProbe, AnswersThatAreTiedStandInTheirOwnOrder) {
  // Every picture of the library occurs with both answers, so nothing tells them apart.
  EmbeddingSet set = readable_set();
  const std::vector<std::int64_t> library = set.rows_of(Split::library);
  for (std::size_t i = 0; i + 1 < library.size(); i += 2) {
    std::copy_n(set.image.begin() + library[i] * 4, 4, set.image.begin() + library[i + 1] * 4);
    set.task[to_index(library[i])] = set.task[to_index(library[i + 1])] = 0;
    set.text_result[to_index(library[i])] = "right";
    set.text_result[to_index(library[i + 1])] = "left";
  }
  const LabelProbe probe(set, 1.0);
  for (const std::int64_t query : set.rows_of(Split::train)) {
    set.task[to_index(query)] = 0;
    EXPECT_EQ(probe.ranked_answers(query), (std::vector<std::string>{"left", "right"}));
  }
}

}  // namespace
}  // namespace saber
