// Emoji-VQA: scenes of one emoji, and the five attributes one can ask about (docs/demo.md).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/random.h"
#include "data/demo/emoji.h"

namespace saber::demo {

inline constexpr int kSceneSize = 40;     // pixels, height and width
inline constexpr int kNumAttributes = 5;  // kind (group), colour, background, count, turn
inline constexpr int kNumBackgrounds = 8;

// 1 to 4 copies of one emoji in a 2x2 grid, turned by quarter turns, on a background colour.
struct Scene {
  int emoji = 0;       // row of EmojiFont::emoji
  int background = 0;  // 0..7
  int count = 1;       // 1..4
  int turn = 0;        // 0..3 quarter turns, counter-clockwise
  bool operator==(const Scene&) const = default;
};

const std::vector<std::string>& colour_names();                               // 11
const std::vector<std::string>& background_names();                           // 8, words of colour_names()
int nearest_colour(std::uint8_t red, std::uint8_t green, std::uint8_t blue);  // row of colour_names()

// Number of values of each attribute: groups, 11, 8, 4, 4.
std::array<int, kNumAttributes> attribute_sizes(const EmojiFont& font);
// Value of each attribute, from 0.
std::array<int, kNumAttributes> attribute_values(const EmojiFont& font, const Scene& scene);

// [3, 40, 40] RGB. Which cells of the grid hold the copies is drawn from `stream`.
std::vector<std::uint8_t> draw_scene(const EmojiFont& font, const Scene& scene, RandomStream stream);

// `count` different scenes out of all emoji x 8 x 4 x 4, in an order drawn from (seed, "scenes"): the first call's
// worth of scenes never overlaps with later ones, so that splits taken as consecutive ranges are disjoint.
std::vector<Scene> shuffled_scenes(const EmojiFont& font, std::uint64_t seed, std::int64_t count);

}  // namespace saber::demo
