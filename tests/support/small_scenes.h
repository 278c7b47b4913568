// A few labelled scenes of 8 x 8 noise, for tests of the tiny LVLM's training.
#pragma once

#include <fmt/format.h>

#include <cstdint>

#include "core/random.h"
#include "data/demo/scene_set.h"

namespace saber::test {

// Attributes of 2, 3 and 2 values; the words "w0" to "w8", of which the first seven are the values' plain names.
inline SceneSet small_scenes(std::int64_t num_scenes = 60) {
  SceneSet out;
  out.num_scenes = num_scenes;
  out.height = out.width = 8;
  out.label_sizes = {2, 3, 2};
  out.label_names = {"a", "b", "c"};
  for (std::int32_t word = 0; word < 9; ++word) out.vocabulary.push_back(fmt::format("w{}", word));
  for (std::int32_t word = 0; word < 7; ++word) out.plain_words.push_back(word);
  RandomStream stream(1, "small scenes");
  for (std::int64_t scene = 0; scene < num_scenes; ++scene) {
    for (const std::int32_t size : out.label_sizes) {
      out.labels.push_back(static_cast<std::int32_t>(stream.below(size)));
    }
    for (int i = 0; i < 3 * 8 * 8; ++i) out.pixels.push_back(static_cast<std::uint8_t>(stream.below(256)));
  }
  return out;
}

}  // namespace saber::test
