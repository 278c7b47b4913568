// Builds the two files of the demo: Emoji-VQA itself (all but its embeddings) and the scenes that train the tiny LVLM.
#pragma once

#include <cstdint>
#include <string>

#include "core/config_schema.h"
#include "data/demo/scene_set.h"
#include "data/embedding_set.h"

namespace saber::demo {

struct DemoSettings {
  std::int64_t seed = 0;     // demo.seed
  std::string folder;        // demo.folder: receives lvlm.h5 and emoji-vqa.h5
  std::string font;          // demo.font
  std::string emoji_test;    // demo.emoji_test
  std::int64_t library = 0;  // demo.library, ... : rows per split
  std::int64_t train = 0;
  std::int64_t validation = 0;
  std::int64_t test = 0;
  std::int64_t lvlm_scenes = 0;  // demo.lvlm_scenes
  bool scenes_only = false;      // demo.scenes_only: write lvlm.h5 only (to train the LVLM that embeds the rest)

  void declare(Schema& schema);
};

struct EmojiVqa {
  EmbeddingSet set;  // `image` is empty: the caller fills it with [R, 128] from the LVLM's vision tower
  SceneSet scenes;
};

// Splits and LVLM scenes are disjoint by scene (emoji, background, count, turn). Rows: library, validation, test,
// train; the ids are the row numbers; each row asks one of the ten tasks in one of three wordings. Texts are embedded
// with width 128.
EmojiVqa build_emoji_vqa(const DemoSettings& settings);

}  // namespace saber::demo
