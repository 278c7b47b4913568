#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "data/demo/emoji_vqa.h"
#include "data/demo/scenes.h"
#include "data/demo/tasks.h"

namespace saber::demo {
namespace {

DemoSettings small_settings(std::int64_t seed = 1) {
  DemoSettings settings;
  Schema schema;
  settings.declare(schema);
  settings.seed = seed;
  settings.library = 200;
  settings.train = 100;
  settings.validation = 50;
  settings.test = 60;
  settings.lvlm_scenes = 300;
  return settings;
}

const EmojiVqa& demo() {
  static const EmojiVqa built = build_emoji_vqa(small_settings());
  return built;
}

const EmojiFont& font() {
  static const EmojiFont loaded = load_emoji(small_settings().font, small_settings().emoji_test);
  return loaded;
}

// The scenes behind the rows: what the LVLM's pictures leave of the shuffled order.
Scene scene_of_row(std::size_t row) {
  static const std::vector<Scene> scenes = shuffled_scenes(font(), 1, 300 + 410);
  return scenes[300 + row];
}

double norm(const std::vector<float>& matrix, std::size_t row) {
  double square = 0.0;
  for (std::size_t i = row * 128; i < (row + 1) * 128; ++i) square += static_cast<double>(matrix[i]) * matrix[i];
  return std::sqrt(square);
}

TEST(EmojiVqa, DefaultsAreThoseOfTheDocumentation) {
  DemoSettings settings;
  Schema schema;
  settings.declare(schema);
  EXPECT_EQ(settings.seed, 1);
  EXPECT_EQ(settings.library, 3000);
  EXPECT_EQ(settings.train, 30000);
  EXPECT_EQ(settings.validation, 1000);
  EXPECT_EQ(settings.test, 2000);
  EXPECT_EQ(settings.lvlm_scenes, 30000);
  EXPECT_EQ(settings.folder, "runs/demo/data");
  EXPECT_FALSE(settings.scenes_only);
}

TEST(EmojiVqa, ShapesAndOrderOfRows) {
  const EmbeddingSet& set = demo().set;
  ASSERT_EQ(set.num_rows, 410);
  EXPECT_EQ(set.image_width, 128);
  EXPECT_EQ(set.text_width, 128);
  EXPECT_TRUE(set.image.empty());
  EXPECT_EQ(set.query.size(), 410u * 128);
  EXPECT_EQ(set.query_result.size(), 410u * 128);
  EXPECT_EQ(set.pixels.size(), 410u * 3 * 40 * 40);
  EXPECT_EQ(set.tasks.name.size(), 10u);
  EXPECT_EQ(set.tasks.embedding.size(), 10u * 128);
  const std::vector<Split> order = {Split::library, Split::validation, Split::test, Split::train};
  EXPECT_TRUE(std::is_sorted(set.split.begin(), set.split.end(), [&](Split a, Split b) {
    return std::find(order.begin(), order.end(), a) < std::find(order.begin(), order.end(), b);
  }));
  std::map<Split, int> rows;
  for (std::size_t i = 0; i < 410; ++i) {
    EXPECT_EQ(set.id[i], static_cast<std::int64_t>(i));
    ++rows[set.split[i]];
  }
  EXPECT_EQ(rows[Split::library], 200);
  EXPECT_EQ(rows[Split::train], 100);
  EXPECT_EQ(rows[Split::validation], 50);
  EXPECT_EQ(rows[Split::test], 60);
}

TEST(EmojiVqa, EverySplitAsksEveryTaskEquallyOften) {
  std::map<std::pair<Split, int>, int> asked;
  for (std::size_t i = 0; i < 410; ++i) ++asked[{demo().set.split[i], demo().set.task[i]}];
  for (int task = 0; task < kNumTasks; ++task) {
    EXPECT_EQ((asked[{Split::library, task}]), 20);
    EXPECT_EQ((asked[{Split::train, task}]), 10);
    EXPECT_EQ((asked[{Split::validation, task}]), 5);
    EXPECT_EQ((asked[{Split::test, task}]), 6);
  }
  EXPECT_FALSE(std::equal(demo().set.task.begin(), demo().set.task.begin() + 10, demo().set.task.begin() + 10));
}

TEST(EmojiVqa, AnswersFollowPictureTaskAndNaming) {
  const Language language = make_language(font(), 1);
  const EmbeddingSet& set = demo().set;
  for (std::size_t i = 0; i < 410; ++i) {
    const auto values = attribute_values(font(), scene_of_row(i));
    const int attribute = set.tasks.question[static_cast<std::size_t>(set.task[i])];
    EXPECT_EQ(attribute, set.task[i] / 2);
    EXPECT_EQ(set.text_result[i], language.answer(set.task[i], values[static_cast<std::size_t>(attribute)]));
    const auto& wordings = language.questions[static_cast<std::size_t>(attribute)];
    EXPECT_NE(std::find(wordings.begin(), wordings.end(), set.text_query[i]), wordings.end());
  }
}

TEST(EmojiVqa, ConventionsShareTheirQuestions) {
  std::map<int, std::set<std::string>> questions;
  for (std::size_t i = 0; i < 410; ++i) questions[demo().set.task[i]].insert(demo().set.text_query[i]);
  for (int task = 0; task < kNumTasks; task += 2) {
    EXPECT_EQ(questions[task].size(), 3u);
    EXPECT_EQ(questions[task], questions[task + 1]);
  }
}

TEST(EmojiVqa, AnswersOfQueriesAreNotEmbedded) {
  const EmbeddingSet& set = demo().set;
  for (std::size_t i = 0; i < 410; ++i) {
    EXPECT_NEAR(norm(set.query, i), 1.0, 1e-5);
    EXPECT_NEAR(norm(set.query_result, i), set.split[i] == Split::library ? 1.0 : 0.0, 1e-5);
  }
  for (std::size_t task = 0; task < 10; ++task) EXPECT_NEAR(norm(set.tasks.embedding, task), 1.0, 1e-5);
}

TEST(EmojiVqa, SceneSetHoldsAllFiveLabels) {
  const SceneSet& scenes = demo().scenes;
  ASSERT_EQ(scenes.num_scenes, 300);
  EXPECT_EQ(scenes.pixels.size(), 300u * 3 * 40 * 40);
  EXPECT_EQ(scenes.label_sizes, (std::vector<std::int32_t>{9, 11, 8, 4, 4}));
  EXPECT_EQ(scenes.label_names, (std::vector<std::string>{"kind", "colour", "background", "count", "turn"}));
  ASSERT_EQ(scenes.vocabulary.size(), 64u);
  ASSERT_EQ(scenes.plain_words.size(), 36u);
  EXPECT_EQ(scenes.vocabulary[static_cast<std::size_t>(scenes.plain_words[9])], "red");  // first value of "colour"
  const std::vector<Scene> shuffled = shuffled_scenes(font(), 1, 300);
  for (std::size_t i = 0; i < 300; ++i) {
    const auto values = attribute_values(font(), shuffled[i]);
    EXPECT_TRUE(std::equal(values.begin(), values.end(), scenes.labels.begin() + static_cast<std::ptrdiff_t>(5 * i)));
  }
}

// The pictures are those of the rows' own scenes, which are all different.
TEST(EmojiVqa, PicturesShowDisjointScenes) {
  std::set<std::vector<int>> seen;
  for (const Scene& s : shuffled_scenes(font(), 1, 710)) {
    EXPECT_TRUE(seen.insert({s.emoji, s.background, s.count, s.turn}).second);
  }
  for (const std::size_t row : {0u, 199u, 200u, 409u}) {
    const Scene s = scene_of_row(row);
    const auto picture = draw_scene(font(), s, RandomStream(1, "cells", {s.emoji, s.background, s.count, s.turn}));
    EXPECT_TRUE(std::equal(picture.begin(), picture.end(),
                           demo().set.pixels.begin() + static_cast<std::ptrdiff_t>(row * picture.size())));
  }
}

TEST(EmojiVqa, SameSeedSameBytesOtherSeedOtherBytes) {
  const EmojiVqa again = build_emoji_vqa(small_settings());
  EXPECT_EQ(again.set.pixels, demo().set.pixels);
  EXPECT_EQ(again.set.query, demo().set.query);
  EXPECT_EQ(again.set.query_result, demo().set.query_result);
  EXPECT_EQ(again.set.text_result, demo().set.text_result);
  EXPECT_EQ(again.set.task, demo().set.task);
  EXPECT_EQ(again.scenes.pixels, demo().scenes.pixels);
  const EmojiVqa other = build_emoji_vqa(small_settings(2));
  EXPECT_NE(other.set.pixels, demo().set.pixels);
  EXPECT_NE(other.set.query, demo().set.query);
  EXPECT_NE(other.set.text_result, demo().set.text_result);
  EXPECT_NE(other.set.task, demo().set.task);
}

TEST(EmojiVqa, MoreRowsThanScenesIsBadInput) {
  DemoSettings settings = small_settings();
  settings.lvlm_scenes = 1377 * 128;
  try {
    build_emoji_vqa(settings);
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
  }
}

}  // namespace
}  // namespace saber::demo
