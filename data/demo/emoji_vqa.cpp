#include "data/demo/emoji_vqa.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <span>

#include "core/narrow.h"
#include "data/demo/emoji.h"
#include "data/demo/scenes.h"
#include "data/demo/tasks.h"

namespace saber::demo {
namespace {

constexpr std::int64_t kWidth = 128;
constexpr std::array<const char*, kNumAttributes> kLabelNames = {"kind", "colour", "background", "count", "turn"};

// A picture depends on its scene and the seed alone, not on the row that shows it.
void append_picture(const EmojiFont& font, const Scene& scene, std::uint64_t seed, std::vector<std::uint8_t>& pixels) {
  RandomStream cells(seed, "cells", {scene.emoji, scene.background, scene.count, scene.turn});
  const std::vector<std::uint8_t> picture = draw_scene(font, scene, cells);
  pixels.insert(pixels.end(), picture.begin(), picture.end());
}

void append(std::vector<float>& matrix, const std::vector<float>& row) {
  matrix.insert(matrix.end(), row.begin(), row.end());
}

SceneSet make_scene_set(const EmojiFont& font, const Language& language, std::span<const Scene> scenes,
                        std::uint64_t seed) {
  SceneSet set;
  set.num_scenes = size_of(scenes);
  set.height = set.width = kSceneSize;
  set.pixels.reserve(scenes.size() * 3 * kSceneSize * kSceneSize);
  for (const Scene& scene : scenes) {
    append_picture(font, scene, seed, set.pixels);
    for (const int value : attribute_values(font, scene)) set.labels.push_back(value);
  }
  for (const int size : attribute_sizes(font)) set.label_sizes.push_back(size);
  set.label_names.assign(kLabelNames.begin(), kLabelNames.end());
  set.vocabulary = language.vocabulary;
  for (const std::vector<int>& words : language.plain) {
    set.plain_words.insert(set.plain_words.end(), words.begin(), words.end());
  }
  return set;
}

TaskTable make_task_table(const Language& language, std::uint64_t seed) {
  TaskTable table;
  for (const TaskDescription& task : language.tasks) {
    table.name.push_back(task.name);
    table.instruction.push_back(task.instruction);
    table.short_instruction.push_back(task.short_instruction);
    table.question.push_back(task.attribute);
    append(table.embedding, embed_text(task.short_instruction, kWidth, seed));
  }
  return table;
}

// Every ten consecutive rows of a split ask each task once, in an order of their own: any length is balanced.
std::vector<int> deal_tasks(std::int64_t num_rows, Split split, std::uint64_t seed) {
  std::vector<int> tasks;
  for (std::int64_t block = 0; size_of(tasks) < num_rows; ++block) {
    std::vector<int> hand(kNumTasks);
    std::iota(hand.begin(), hand.end(), 0);
    RandomStream stream(seed, "tasks", {static_cast<std::int64_t>(split), block});
    stream.shuffle(hand);
    tasks.insert(tasks.end(), hand.begin(), hand.end());
  }
  tasks.resize(to_index(num_rows));
  return tasks;
}

class RowWriter {
 public:
  RowWriter(const EmojiFont& font, const Language& language, std::uint64_t seed, EmbeddingSet& set)
      : font_(font), language_(language), seed_(seed), set_(set) {}

  void add_split(Split split, std::span<const Scene> scenes) {
    const std::vector<int> tasks = deal_tasks(size_of(scenes), split, seed_);
    for (std::size_t i = 0; i < scenes.size(); ++i) add_row(split, scenes[i], tasks[i]);
  }

 private:
  void add_row(Split split, const Scene& scene, int task) {
    const std::int64_t id = set_.num_rows++;
    const int attribute = language_.tasks[to_index(task)].attribute;
    RandomStream wording(seed_, "wording", {id});
    const std::string& question = language_.questions[to_index(attribute)][to_index(wording.below(kNumWordings))];
    const std::string& answer = language_.answer(task, attribute_values(font_, scene)[to_index(attribute)]);
    set_.id.push_back(id);
    set_.split.push_back(split);
    set_.task.push_back(task);
    set_.text_query.push_back(question);
    set_.text_result.push_back(answer);
    append(set_.query, embed_text(question, kWidth, seed_));
    // The answers of queries are never embedded: nothing that selects may see them.
    append(set_.query_result, split == Split::library ? embed_text(question + " " + answer, kWidth, seed_)
                                                      : std::vector<float>(kWidth, 0.0F));
    append_picture(font_, scene, seed_, set_.pixels);
  }

  const EmojiFont& font_;
  const Language& language_;
  std::uint64_t seed_;
  EmbeddingSet& set_;
};

}  // namespace

void DemoSettings::declare(Schema& schema) {
  constexpr std::int64_t kMost = 1'000'000'000;
  schema.integer(seed, "demo.seed", 1, 0, Schema::kAny, "", "everything that is drawn at random in the demo's data");
  schema.text(folder, "demo.folder", "runs/demo/data", "receives lvlm.h5 and emoji-vqa.h5");
  schema.text(font, "demo.font", "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
              "colour font of the emoji (Debian: fonts-noto-color-emoji)");
  schema.text(emoji_test, "demo.emoji_test", "/usr/share/unicode/emoji/emoji-test.txt",
              "names and groups of the emoji (Debian: unicode-data)");
  schema.integer(library, "demo.library", 3000, 1, kMost, "rows", "demonstrations to choose from");
  schema.integer(train, "demo.train", 30000, 0, kMost, "rows", "queries to train on");
  schema.integer(validation, "demo.validation", 1000, 0, kMost, "rows", "queries on which every choice is made");
  schema.integer(test, "demo.test", 2000, 0, kMost, "rows", "queries that are looked at once, at the end");
  schema.integer(lvlm_scenes, "demo.lvlm_scenes", 30000, 0, kMost, "scenes", "pictures that train the tiny LVLM");
  schema.flag(scenes_only, "demo.scenes_only", false, "write lvlm.h5 only, to train the LVLM that embeds the rest");
}

EmojiVqa build_emoji_vqa(const DemoSettings& settings) {
  const auto seed = narrow<std::uint64_t>(settings.seed);
  const EmojiFont font = load_emoji(settings.font, settings.emoji_test);
  const Language language = make_language(font, seed);
  const std::int64_t num_rows = settings.library + settings.train + settings.validation + settings.test;
  const std::vector<Scene> scenes = shuffled_scenes(font, seed, settings.lvlm_scenes + num_rows);

  std::span<const Scene> rest = scenes;
  const auto take = [&](std::int64_t count) {
    const auto taken = rest.first(to_index(count));
    rest = rest.subspan(to_index(count));
    return taken;
  };
  EmojiVqa demo;
  demo.scenes = make_scene_set(font, language, take(settings.lvlm_scenes), seed);
  demo.set.image_width = demo.set.text_width = kWidth;
  demo.set.pixel_height = demo.set.pixel_width = kSceneSize;
  demo.set.tasks = make_task_table(language, seed);
  demo.set.pixels.reserve(to_index(num_rows * 3 * kSceneSize * kSceneSize));
  RowWriter rows(font, language, seed, demo.set);
  rows.add_split(Split::library, take(settings.library));
  rows.add_split(Split::validation, take(settings.validation));
  rows.add_split(Split::test, take(settings.test));
  rows.add_split(Split::train, take(settings.train));  // last: more of them change no other row
  return demo;
}

}  // namespace saber::demo
