// lvlm.h5: scenes with labels, from which the tiny LVLM is trained (docs/formats.md, `saber-scenes` version 1).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace saber {

struct SceneSet {
  std::int64_t num_scenes = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::vector<std::uint8_t> pixels;       // [S, 3, H, W]
  std::vector<std::int32_t> labels;       // [S, A], value of each attribute, from 0; -1: unknown (never in a file)
  std::vector<std::int32_t> label_sizes;  // [A], number of values of each attribute
  std::vector<std::string> label_names;   // [A]
  std::vector<std::string> vocabulary;    // [V] the words of the LVLM
  std::vector<std::int32_t> plain_words;  // [sum of label_sizes], word of each value, attribute after attribute
  // Whether a training episode may demonstrate with the query's own picture: rare among many scenes, but of few ones
  // the LVLM would learn to look for the same picture.
  bool shows_query_again = true;
};

void write_scene_set(const std::filesystem::path& path, const SceneSet& set);
// Throws bad_input with file, data set and row.
SceneSet read_scene_set(const std::filesystem::path& path);

}  // namespace saber
