#include "trainer/reward/tiny_lvlm_scorer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/narrow.h"
#include "core/random.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/small_world.h"
#include "trainer/search/advance.h"

namespace saber {
namespace {

using testing_data::expect_bad_input;

EmbeddingSet pixel_set(std::int64_t picture_size = 8) {
  test::SmallSetSizes sizes;
  sizes.library = 90;  // more rows than one block of pictures
  sizes.picture_size = picture_size;
  return test::small_set(sizes);
}

TinyLvlm untrained_lvlm(std::int64_t num_words = 5) {
  torch::manual_seed(11);
  std::vector<std::string> words;
  for (std::int64_t i = 0; i < num_words; ++i) words.push_back(fmt::format("w{}", i));
  TinyLvlm lvlm(8, 8, words);
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& p : lvlm->decoder()->parameters()) p.mul_(2);  // so that scores differ well
  return lvlm;
}

std::vector<DemonstrationSequence> random_sequences(const EmbeddingSet& set, std::int64_t count, std::int64_t shots) {
  std::vector<DemonstrationSequence> out;
  const std::int64_t query = set.rows_of(Split::train)[0];
  for (std::int64_t i = 0; i < count; ++i) {
    out.push_back({query, RandomStream(1, "sequences", {i, shots}).sample(set.rows_of(Split::library), shots)});
  }
  return out;
}

// Passes questions on to a scorer with reuse and compares its answers with those of one without.
class Comparing : public BlockingScorer {
 public:
  explicit Comparing(const EmbeddingSet& set)
      : reusing_(untrained_lvlm(), set, true), whole_(untrained_lvlm(), set, false) {}
  std::vector<std::optional<Score>> score_now(std::span<const DemonstrationSequence> sequences, bool) override {
    const auto found = reusing_.score(sequences), wanted = whole_.score(sequences);
    EXPECT_EQ(found.size(), sequences.size());
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      EXPECT_NEAR(found[i]->log_likelihood, wanted[i]->log_likelihood, 1e-5) << sequences[i].shots.size() << " shots";
      values.push_back(found[i]->log_likelihood);
    }
    return found;
  }
  std::string identity() const override { return ""; }
  std::string prompt_template() const override { return ""; }
  std::vector<double> values;

 private:
  TinyLvlmScorer reusing_, whole_;
};

TEST(TinyLvlmScorer, ReusedPrefixesChangeNothingInABeamSearch) {
  const EmbeddingSet set = pixel_set();
  Comparing scorer(set);
  for (const std::int64_t query : {set.rows_of(Split::train)[0], set.rows_of(Split::test)[1]}) {
    const std::vector<std::int64_t> pool = RandomStream(2, "pool", {query}).sample(set.rows_of(Split::library), 10);
    run_search(scorer, BeamSearch(set, query, pool, 3, 4));
  }
  const auto [low, high] = std::minmax_element(scorer.values.begin(), scorer.values.end());
  EXPECT_GT(*high - *low, 0.1) << "the scores differ, so that equality says something";
}

TEST(TinyLvlmScorer, AnyOrderOfCallsGivesTheSame) {
  const EmbeddingSet set = pixel_set();
  Comparing scorer(set);
  std::vector<DemonstrationSequence> shorter = random_sequences(set, 9, 1), longer = shorter, other = shorter;
  for (std::size_t i = 0; i < longer.size(); ++i) {
    longer[i].shots.push_back(set.rows_of(Split::library)[i + 50]);
    other[i].query = set.rows_of(Split::test)[0];
  }
  scorer.score(shorter);
  scorer.score(other);
  scorer.score(longer);   // the call before asked another query about the same prefixes
  scorer.score(shorter);  // shorter than what is cached
  scorer.score(longer);
  std::swap(longer[0].shots[0], longer[0].shots[1]);  // one prefix is unknown
  scorer.score(longer);
}

TEST(TinyLvlmScorer, AScoreDoesNotDependOnTheRestOfTheCall) {
  const EmbeddingSet set = pixel_set();
  for (const std::int64_t shots : {0, 2, 5}) {
    const std::vector<DemonstrationSequence> sequences = random_sequences(set, 20, shots);
    TinyLvlmScorer together(untrained_lvlm(), set);
    const auto scores = together.score(sequences);
    for (std::size_t i = 0; i < sequences.size(); i += 6) {
      const auto alone = TinyLvlmScorer(untrained_lvlm(), set).score(std::span(sequences).subspan(i, 1));
      EXPECT_NEAR(alone[0]->log_likelihood, scores[i]->log_likelihood, 1e-5);
    }
  }
}

TEST(TinyLvlmScorer, AnswersInTheOrderOfTheQuestions) {
  const EmbeddingSet set = pixel_set();
  std::vector<DemonstrationSequence> mixed;
  for (const std::int64_t shots : {2, 0, 3, 1, 2}) {
    for (auto& sequence : random_sequences(set, 3, shots)) mixed.push_back(std::move(sequence));
  }
  mixed[4].query = set.rows_of(Split::validation)[0];
  TinyLvlmScorer scorer(untrained_lvlm(), set);
  const auto scores = scorer.score(mixed);
  ASSERT_EQ(scores.size(), mixed.size());
  for (std::size_t i = 0; i < mixed.size(); ++i) {
    const auto alone = TinyLvlmScorer(untrained_lvlm(), set, false).score(std::span(mixed).subspan(i, 1));
    EXPECT_NEAR(alone[0]->log_likelihood, scores[i]->log_likelihood, 1e-5) << i;
  }
}

TEST(TinyLvlmScorer, OrderAndEveryDemonstrationMatter) {
  const EmbeddingSet set = pixel_set();
  TinyLvlmScorer scorer(untrained_lvlm(), set);
  DemonstrationSequence sequence = random_sequences(set, 1, 3)[0];
  const auto value = [&] { return scorer.score(std::span(&sequence, 1))[0]->log_likelihood; };
  const double before = value();
  EXPECT_LT(before, 0);
  std::swap(sequence.shots[0], sequence.shots[1]);
  EXPECT_GT(std::abs(value() - before), 1e-4);
  std::swap(sequence.shots[0], sequence.shots[1]);
  sequence.shots[0] = set.rows_of(Split::library)[80];
  EXPECT_GT(std::abs(value() - before), 1e-4);
}

TEST(TinyLvlmScorer, CorrectMeansTheLvlmsFirstChoice) {
  const EmbeddingSet set = pixel_set();
  TinyLvlm lvlm = untrained_lvlm();
  {
    const torch::NoGradGuard no_grad;
    lvlm->decoder()->named_parameters()["head.bias"][2] = 1e3;  // it always says w2
  }
  TinyLvlmScorer scorer(lvlm, set);
  for (const std::int64_t query : set.rows_of(Split::train)) {
    const DemonstrationSequence zero_shot{query, {}};
    const Score score = *scorer.score(std::span(&zero_shot, 1), /*judge=*/true)[0];
    EXPECT_EQ(score.correct, set.text_result[to_index(query)] == "w2");
    EXPECT_EQ(score.log_likelihood > -1, score.correct);
    EXPECT_FALSE(scorer.score(std::span(&zero_shot, 1))[0]->correct.has_value()) << "nobody asked";
  }
}

TEST(TinyLvlmScorer, AnswerProbabilitiesAreThoseOfTheScores) {
  const EmbeddingSet set = pixel_set();
  const std::vector<std::string> words = {"w0", "w1", "w2", "w3", "w4"}, two = {"w3", "w1"};
  std::vector<DemonstrationSequence> sequences = random_sequences(set, 9, 2);
  sequences[4].query = set.rows_of(Split::test)[1];
  for (auto& sequence : random_sequences(set, 2, 0)) sequences.push_back(std::move(sequence));
  TinyLvlmScorer scorer(untrained_lvlm(), set);
  const auto scores = scorer.score(sequences, /*judge=*/true);
  const auto all = scorer.answer_log_probabilities(sequences, words),
             some = scorer.answer_log_probabilities(sequences, two);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::string& right = set.text_result[to_index(sequences[i].query)];
    const auto place = to_index(std::find(words.begin(), words.end(), right) - words.begin());
    EXPECT_NEAR((*all[i])[place], scores[i]->log_likelihood, 1e-5) << i;
    const bool first = place == to_index(std::max_element(all[i]->begin(), all[i]->end()) - all[i]->begin());
    EXPECT_EQ(first, scores[i]->correct) << i;
    EXPECT_NEAR(std::exp((*some[i])[0]) + std::exp((*some[i])[1]), 1, 1e-12);
    EXPECT_NEAR((*some[i])[0] - (*some[i])[1], (*all[i])[3] - (*all[i])[1], 1e-12);
  }
}

TEST(TinyLvlmScorer, AContentFreeQueryHasNoContent) {
  const EmbeddingSet set = pixel_set();
  const std::vector<std::string> words = {"w0", "w1", "w2", "w3", "w4"};
  TinyLvlmScorer scorer(untrained_lvlm(), set);
  ASSERT_EQ(scorer.num_content_free(), 3);
  const std::vector<DemonstrationSequence> one = random_sequences(set, 1, 2);
  std::vector<DemonstrationSequence> other = one;
  other[0].query = set.rows_of(Split::test)[1];
  for (const std::int64_t number : {0, 1, 2}) {
    EXPECT_EQ(scorer.answer_log_probabilities(one, words, number),
              scorer.answer_log_probabilities(other, words, number));
  }
  EXPECT_NE(scorer.answer_log_probabilities(one, words, 0), scorer.answer_log_probabilities(one, words, 1));
  EXPECT_NE(scorer.answer_log_probabilities(one, words, 0), scorer.answer_log_probabilities(one, words));
  std::swap(other[0].shots[0], other[0].shots[1]);
  EXPECT_NE(scorer.answer_log_probabilities(one, words, 0), scorer.answer_log_probabilities(other, words, 0));
}

// A token that stands for a question of the data set would ask for something.
TEST(TinyLvlmScorer, WhereEveryQuestionIsATaskThereIsNoContentFreeOne) {
  EmbeddingSet set = pixel_set();
  for (std::int64_t q = 0; q < 62; ++q) set.tasks.question.push_back(static_cast<std::int32_t>(q));
  EXPECT_EQ(TinyLvlmScorer(untrained_lvlm(), set).num_content_free(), 2) << "62 and 63 are left";
}

// What it keeps for a beam search is not touched.
TEST(TinyLvlmScorer, AskingForAnswersChangesNoScore) {
  const EmbeddingSet set = pixel_set();
  TinyLvlmScorer asking(untrained_lvlm(), set), plain(untrained_lvlm(), set);
  const std::vector<std::string> words = {"w0", "w1"};
  std::vector<DemonstrationSequence> shorter = random_sequences(set, 9, 1), longer = shorter;
  for (std::size_t i = 0; i < longer.size(); ++i) longer[i].shots.push_back(set.rows_of(Split::library)[i + 50]);
  asking.score(shorter);
  plain.score(shorter);
  asking.answer_log_probabilities(shorter, words, 1);
  const auto found = asking.score(longer), wanted = plain.score(longer);
  for (std::size_t i = 0; i < longer.size(); ++i)
    EXPECT_EQ(found[i]->log_likelihood, wanted[i]->log_likelihood) << "the kept prefixes are those of the queries";
}

TEST(TinyLvlmScorer, RefusesWhatItCannotRead) {
  EmbeddingSet set = pixel_set();
  set.text_result[17] = "giraffe";
  expect_bad_input({"giraffe", "/text/result", "row 17"}, [&] { TinyLvlmScorer(untrained_lvlm(), set); });
  set = pixel_set();
  set.tasks.question[1] = 64;
  expect_bad_input({"/tasks/question", "64"}, [&] { TinyLvlmScorer(untrained_lvlm(), set); });
  set = pixel_set(16);
  expect_bad_input({"/pixels", "16x16", "8x8"}, [&] { TinyLvlmScorer(untrained_lvlm(), set); });
  set = test::small_set();
  expect_bad_input({"/pixels"}, [&] { TinyLvlmScorer(untrained_lvlm(), set); });
  set = pixel_set();
  TinyLvlmScorer scorer(untrained_lvlm(), set);
  const auto nine = random_sequences(set, 1, 9);
  expect_bad_input({"9 shots", "at most 8"}, [&] { scorer.score(nine); });
  EXPECT_EQ(scorer.score(random_sequences(set, 1, 8)).size(), 1U);
}

TEST(TinyLvlmScorer, ItsIdentityNamesTheWeights) {
  const EmbeddingSet set = pixel_set();
  TinyLvlm changed = untrained_lvlm();
  {
    const torch::NoGradGuard no_grad;
    changed->decoder()->parameters()[0].add_(1e-3);
  }
  const std::string a = TinyLvlmScorer(untrained_lvlm(), set).identity();
  EXPECT_EQ(a, TinyLvlmScorer(untrained_lvlm(), set, false).identity());
  EXPECT_NE(a, TinyLvlmScorer(changed, set).identity());
}

TEST(TinyLvlmScorer, TheWeightsThatShipCanBeLoadedAndAsked) {
  TinyLvlm lvlm = load_tiny_lvlm(std::filesystem::path(SABER_SOURCE_DIR) / "configs" / "tiny-lvlm.safetensors");
  test::SmallSetSizes sizes;
  sizes.picture_size = lvlm->picture_height();
  ASSERT_EQ(lvlm->picture_height(), lvlm->picture_width());
  EmbeddingSet set = test::small_set(sizes);
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    set.text_result[to_index(row)] = lvlm->vocabulary()[to_index(row % size_of(lvlm->vocabulary()))];
  }
  TinyLvlmScorer reusing(lvlm, set), whole(lvlm, set, false);
  for (const std::int64_t shots : {0, 1, 4, 8}) {
    const auto sequences = random_sequences(set, 8, shots);
    const auto a = reusing.score(sequences), b = whole.score(sequences);
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i]->log_likelihood, b[i]->log_likelihood, 1e-5);
  }
}

}  // namespace
}  // namespace saber
