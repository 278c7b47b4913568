#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "core/error.h"
#include "data/demo/tasks.h"

namespace saber::demo {
namespace {

EmojiFont groups_only() {
  EmojiFont font;
  font.groups = {"Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink", "Travel & Places",
                 "Activities",        "Objects",       "Symbols",          "Flags"};
  return font;
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

TEST(Tasks, VocabularyIs64DifferentLowerCaseWords) {
  const Language language = make_language(groups_only(), 1);
  ASSERT_EQ(language.vocabulary.size(), 64u);
  EXPECT_EQ(std::set<std::string>(language.vocabulary.begin(), language.vocabulary.end()).size(), 64u);
  for (const std::string& word : language.vocabulary) {
    EXPECT_FALSE(word.empty());
    EXPECT_TRUE(std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; })) << word;
  }
}

TEST(Tasks, PlainWordsAreTheUsualOnes) {
  const Language language = make_language(groups_only(), 1);
  EXPECT_EQ(language.answer(0, 0), "smileys");
  EXPECT_EQ(language.answer(0, 3), "food");
  for (int value = 0; value < 11; ++value) {
    EXPECT_EQ(language.answer(2, value), colour_names()[static_cast<std::size_t>(value)]);
  }
  for (int value = 0; value < 8; ++value) {
    EXPECT_EQ(language.answer(4, value), background_names()[static_cast<std::size_t>(value)]);
  }
  EXPECT_EQ(language.answer(6, 2), "three");
  EXPECT_EQ(language.answer(8, 0), "upright");
  EXPECT_EQ(language.answer(8, 2), "inverted");
}

TEST(Tasks, CoinedNamesAreOneToOneAndNeverThePlainWord) {
  const std::vector<int> sizes = {9, 11, 8, 4, 4};
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Language language = make_language(groups_only(), seed);
    for (int attribute = 0; attribute < kNumAttributes; ++attribute) {
      const int size = sizes[static_cast<std::size_t>(attribute)];
      std::set<std::string> words;
      for (int value = 0; value < size; ++value) {
        words.insert(language.answer(2 * attribute + 1, value));
        EXPECT_NE(language.answer(2 * attribute + 1, value), language.answer(2 * attribute, value));
      }
      EXPECT_EQ(words.size(), static_cast<std::size_t>(size));
    }
  }
  EXPECT_EQ(make_language(groups_only(), 1).coined, make_language(groups_only(), 1).coined);
  EXPECT_NE(make_language(groups_only(), 1).coined, make_language(groups_only(), 2).coined);
}

TEST(Tasks, TenTasksOfWhichTwoShareEachQuestion) {
  const Language language = make_language(groups_only(), 1);
  ASSERT_EQ(language.tasks.size(), 10u);
  std::set<std::string> names, instructions;
  for (int t = 0; t < kNumTasks; ++t) {
    const TaskDescription& task = language.tasks[static_cast<std::size_t>(t)];
    EXPECT_EQ(task.attribute, t / 2);
    EXPECT_EQ(task.coined, t % 2 == 1);
    names.insert(task.name);
    instructions.insert(task.instruction);
  }
  EXPECT_EQ(names.size(), 10u);
  EXPECT_TRUE(names.contains("colour/plain") && names.contains("colour/coined"));
  EXPECT_EQ(instructions.size(), 10u);
  ASSERT_EQ(language.questions.size(), 5u);
  std::set<std::string> questions;
  for (const auto& wordings : language.questions) {
    EXPECT_EQ(wordings.size(), 3u);
    questions.insert(wordings.begin(), wordings.end());
  }
  EXPECT_EQ(questions.size(), 15u);
}

TEST(Tasks, InstructionsAreClearlyApart) {
  const Language language = make_language(groups_only(), 1);
  double closest = -1.0;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    for (int a = 0; a < kNumTasks; ++a) {
      for (int b = 0; b < a; ++b) {
        const auto embed = [&](int t) {
          return embed_text(language.tasks[static_cast<std::size_t>(t)].short_instruction, 128, seed);
        };
        closest = std::max(closest, dot(embed(a), embed(b)));
      }
    }
  }
  RecordProperty("largest_cosine", std::to_string(closest));
  EXPECT_LT(closest, 0.8);
}

TEST(Tasks, RandomNamingGivesEveryValueItsOwnWord) {
  RandomStream stream(4, "test");
  std::set<int> first_words;
  for (int i = 0; i < 400; ++i) {
    const std::vector<int> naming = random_naming(11, stream);
    EXPECT_EQ(std::set<int>(naming.begin(), naming.end()).size(), 11u);
    for (const int word : naming) EXPECT_TRUE(word >= 0 && word < kVocabularySize);
    first_words.insert(naming[0]);
  }
  EXPECT_GT(first_words.size(), 50u);
}

TEST(Tasks, TextsEmbedAsNormalisedSumsOfWords) {
  const auto embed = [](const std::string& text) { return embed_text(text, 128, 1); };
  const std::vector<float> both = embed("red hearts");
  EXPECT_NEAR(dot(both, both), 1.0, 1e-6);
  EXPECT_EQ(both, embed("RED, hearts?!"));
  EXPECT_EQ(both, embed("  red hearts"));
  EXPECT_GT(dot(both, embed("red")), 0.5);
  EXPECT_LT(std::abs(dot(embed("red"), embed("hearts"))), 0.4);
  EXPECT_LT(std::abs(dot(both, embed_text("red hearts", 128, 2))), 0.4);
  EXPECT_NE(embed("redhearts"), both);
}

TEST(Tasks, ATextWithoutWordsIsRefused) {
  EXPECT_THROW(embed_text(" ?! ", 128, 1), Error);
}

TEST(Tasks, GroupsThatShareTheirFirstWordAreRefused) {
  EmojiFont font;
  font.groups = {"Animals & Nature", "Animals & More"};
  EXPECT_THROW(make_language(font, 1), Error);
}

}  // namespace
}  // namespace saber::demo
