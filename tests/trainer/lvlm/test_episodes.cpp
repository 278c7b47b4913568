#include "trainer/lvlm/episodes.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <span>

#include "core/error.h"
#include "core/hash.h"
#include "core/narrow.h"
#include "tests/support/small_scenes.h"

namespace saber {
namespace {

constexpr std::int64_t kShots = 4, kQuestions = 20, kEpisodes = 2000;

class Episodes : public testing::Test {
 protected:
  Episodes() : scenes_(test::small_scenes()), maker_(scenes_, kShots, kQuestions) {}

  std::vector<EpisodeItem> make(std::int64_t i) const { return maker_.make(RandomStream(1, "test", {i})); }
  std::int64_t value(std::int64_t scene, std::int64_t attribute) const {
    return scenes_.labels[to_index(scene * 3 + attribute)];
  }

  SceneSet scenes_;
  EpisodeMaker maker_;
};

TEST_F(Episodes, AreAPureFunctionOfTheirStream) {
  for (std::int64_t i = 0; i < 20; ++i) {
    const auto first = make(i), again = make(i), next = make(i + 1);
    ASSERT_EQ(first.size(), to_index(kShots + 1));
    bool differs = false;
    for (std::size_t k = 0; k < first.size(); ++k) {
      EXPECT_TRUE(first[k].scene == again[k].scene && first[k].question == again[k].question &&
                  first[k].word == again[k].word);
      differs = differs || first[k].scene != next[k].scene;
    }
    EXPECT_TRUE(differs);
  }
}

TEST_F(Episodes, EveryQuestionTokenStandsForOneAttributeWithOneNaming) {
  std::set<std::int64_t> tokens;
  for (std::int64_t i = 0; i < kEpisodes; ++i) {
    std::map<std::int64_t, std::set<std::int64_t>> fitting;  // attributes that explain a question token
    const auto episode = make(i);
    for (const EpisodeItem& item : episode) {
      EXPECT_TRUE(item.scene >= 0 && item.scene < scenes_.num_scenes);
      EXPECT_TRUE(item.question >= 0 && item.question < kQuestions);
      EXPECT_TRUE(item.word >= 0 && item.word < size_of(scenes_.vocabulary));
      tokens.insert(item.question);
      fitting[item.question] = {0, 1, 2};
    }
    for (const EpisodeItem& a : episode) {
      for (const EpisodeItem& b : episode) {
        if (a.question != b.question) continue;
        // Same value: same word; other value: other word.
        std::erase_if(fitting[a.question], [&](std::int64_t attribute) {
          return (value(a.scene, attribute) == value(b.scene, attribute)) != (a.word == b.word);
        });
      }
    }
    for (const auto& [question, attributes] : fitting) ASSERT_FALSE(attributes.empty()) << "episode " << i;
    EXPECT_LE(fitting.size(), 3U);
  }
  EXPECT_EQ(size_of(tokens), kQuestions) << "tokens are bound anew in every episode";
}

TEST_F(Episodes, RatesAreThoseOfTheRecipe) {
  std::int64_t plain = 0, foreign = 0, answered = 0;
  for (std::int64_t i = 0; i < kEpisodes; ++i) {
    const auto episode = make(i);
    const EpisodeItem& query = episode.back();
    bool shown = false;
    for (std::int64_t k = 0; k < kShots; ++k) {
      const EpisodeItem& item = episode[to_index(k)];
      foreign += item.question != query.question;
      shown = shown || (item.question == query.question && item.word == query.word);
    }
    answered += shown;
    std::int64_t offset = 0;
    for (std::int64_t a = 0; a < 3; ++a) {
      if (query.word == offset + value(query.scene, a)) {
        ++plain;
        break;
      }
      offset += scenes_.label_sizes[to_index(a)];
    }
  }
  const auto rate = [](std::int64_t count, std::int64_t of) {
    return static_cast<double>(count) / static_cast<double>(of);
  };
  // Mean of 0, 0.25 and 0.6, less the slots that a helpful demonstration takes.
  EXPECT_NEAR(rate(foreign, kEpisodes * kShots), 0.283 * (1 - 0.6 * 1.5 / 4), 0.03);
  EXPECT_GT(rate(answered, kEpisodes), 0.6);
  EXPECT_LT(rate(answered, kEpisodes), 0.97);
  EXPECT_GT(rate(plain, kEpisodes), 0.4);
  EXPECT_LT(rate(plain, kEpisodes), 0.75);
}

// Bits of a scenes file's episodes, from before data sets of one's own could be trained on.
TEST_F(Episodes, OfFullyLabelledScenesStayWhatTheyWere) {
  Fingerprint fingerprint;
  for (std::int64_t i = 0; i < kEpisodes; ++i) {
    for (const EpisodeItem& item : make(i)) {
      const std::int64_t values[] = {item.scene, item.question, item.word};
      fingerprint.add_values(std::span<const std::int64_t>(values));
    }
  }
  EXPECT_EQ(fingerprint.hex(), "5ec3622f6ad8e03afa448883e67da433");
}

// Attribute a is known of every third scene, b of scenes 0 to 4, c of 5 to 9.
SceneSet sparse_scenes() {
  SceneSet scenes = test::small_scenes();
  scenes.shows_query_again = false;
  for (std::int64_t s = 0; s < scenes.num_scenes; ++s) {
    const bool known[] = {s % 3 == 0, s < 5, s >= 5 && s < 10};
    for (std::int64_t a = 0; a < 3; ++a) {
      if (!known[a]) scenes.labels[to_index(s * 3 + a)] = -1;
    }
  }
  return scenes;
}

TEST(EpisodesOfFewScenes, ShowOnlyKnownLabelsAndTheQueryOnce) {
  const SceneSet scenes = sparse_scenes();
  const EpisodeMaker maker(scenes, kShots, kQuestions);
  std::set<std::int64_t> shown;
  for (std::int64_t i = 0; i < kEpisodes; ++i) {
    const auto episode = maker.make(RandomStream(1, "test", {i}));
    std::map<std::int64_t, std::set<std::int64_t>> fitting;
    for (const EpisodeItem& item : episode) {
      const auto known = [&](std::int64_t a) { return scenes.labels[to_index(item.scene * 3 + a)] >= 0; };
      auto& attributes = fitting.try_emplace(item.question, std::set<std::int64_t>{0, 1, 2}).first->second;
      std::erase_if(attributes, [&](std::int64_t a) { return !known(a); });
      ASSERT_FALSE(attributes.empty()) << "episode " << i;
      if (&item != &episode.back()) {
        ASSERT_NE(item.scene, episode.back().scene) << "episode " << i;
      }
      shown.insert(item.scene);
    }
  }
  EXPECT_EQ(shown.size(), 26U) << "every third of 60, and 1, 2, 4, 5, 7 and 8";
}

TEST(EpisodesOfFewScenes, CopeWithOneAttributeAndWithValuesOfOneScene) {
  SceneSet scenes = test::small_scenes(3);
  scenes.shows_query_again = false;
  scenes.label_sizes = {3};
  scenes.plain_words = {0, 1, 2};
  scenes.labels = {0, 1, 2};
  const EpisodeMaker maker(scenes, kShots, kQuestions);
  for (std::int64_t i = 0; i < 200; ++i) {
    const auto episode = maker.make(RandomStream(1, "test", {i}));
    for (std::int64_t k = 0; k < kShots; ++k) {
      EXPECT_EQ(episode[to_index(k)].question, episode.back().question);
      EXPECT_NE(episode[to_index(k)].word, episode.back().word) << "no other scene has the query's value";
    }
  }
  scenes.labels = {0, -1, -1};
  EXPECT_THROW(EpisodeMaker(scenes, kShots, kQuestions), Error);
}

}  // namespace
}  // namespace saber
