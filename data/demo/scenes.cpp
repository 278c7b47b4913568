#include "data/demo/scenes.h"

#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/narrow.h"

namespace saber::demo {
namespace {

using Rgb = std::array<std::uint8_t, 3>;

enum Colour { red, orange, yellow, green, blue, purple, pink, brown, black, grey, white };  // rows of colour_names()

struct Tone {
  Colour name;
  Rgb rgb;
};

// What each colour word stands for: tones that the font is drawn in, light and dark where one would not do (a dark
// green is nearer to black than to a light green).
constexpr std::array<Tone, 22> kTones = {
    {{red, {225, 55, 45}},     {red, {160, 30, 35}},      {orange, {250, 150, 30}}, {orange, {240, 125, 30}},
     {yellow, {252, 205, 60}}, {yellow, {255, 235, 130}}, {green, {140, 195, 75}},  {green, {40, 130, 60}},
     {blue, {40, 130, 210}},   {blue, {110, 190, 235}},   {blue, {30, 50, 130}},    {purple, {165, 70, 180}},
     {purple, {95, 60, 165}},  {pink, {245, 145, 180}},   {pink, {225, 50, 120}},   {brown, {150, 85, 50}},
     {brown, {175, 120, 90}},  {brown, {105, 65, 45}},    {black, {55, 55, 57}},    {grey, {150, 160, 165}},
     {grey, {110, 115, 120}},  {white, {245, 245, 240}}}};

// In the order of background_names(); nearest_colour() of each is its own name.
constexpr std::array<Rgb, kNumBackgrounds> kBackgrounds = {{{190, 25, 30},
                                                            {255, 225, 90},
                                                            {60, 160, 60},
                                                            {70, 150, 235},
                                                            {105, 40, 150},
                                                            {255, 165, 205},
                                                            {10, 10, 10},
                                                            {255, 255, 255}}};

constexpr int kCells = 4;
constexpr int kCountsTimesTurns = 4 * 4;

// Place in the upright picture of what stands at (row, column) after `turn` quarter turns, counter-clockwise.
std::array<int, 2> before_turning(int row, int column, int turn) {
  constexpr int kLast = kEmojiSize - 1;
  switch (turn) {
    case 1:
      return {column, kLast - row};
    case 2:
      return {kLast - row, kLast - column};
    case 3:
      return {kLast - column, row};
    default:
      return {row, column};
  }
}

std::uint8_t blend(int colour, int background, int alpha) {
  return narrow<std::uint8_t>((colour * alpha + background * (255 - alpha) + 127) / 255);
}

void draw_copy(const std::vector<std::uint8_t>& rgba, int turn, std::int64_t cell, std::vector<std::uint8_t>& pixels) {
  const auto top = static_cast<int>(cell / 2) * kEmojiSize;
  const auto left = static_cast<int>(cell % 2) * kEmojiSize;
  for (int row = 0; row < kEmojiSize; ++row) {
    for (int column = 0; column < kEmojiSize; ++column) {
      const auto [source_row, source_column] = before_turning(row, column, turn);
      const std::uint8_t* source = &rgba[to_index((source_row * kEmojiSize + source_column) * 4)];
      for (int c = 0; c < 3; ++c) {
        std::uint8_t& target = pixels[to_index((c * kSceneSize + top + row) * kSceneSize + left + column)];
        target = blend(source[c], target, source[3]);
      }
    }
  }
}

Scene scene_of_number(std::int64_t number) {
  Scene scene;
  scene.turn = static_cast<int>(number % 4);
  scene.count = static_cast<int>(number / 4 % 4) + 1;
  scene.background = static_cast<int>(number / kCountsTimesTurns % kNumBackgrounds);
  scene.emoji = narrow<int>(number / (kCountsTimesTurns * kNumBackgrounds));
  return scene;
}

}  // namespace

const std::vector<std::string>& colour_names() {
  static const std::vector<std::string> names = {"red",  "orange", "yellow", "green", "blue", "purple",
                                                 "pink", "brown",  "black",  "grey",  "white"};
  return names;
}

const std::vector<std::string>& background_names() {
  static const std::vector<std::string> names = {"red", "yellow", "green", "blue", "purple", "pink", "black", "white"};
  return names;
}

int nearest_colour(std::uint8_t r, std::uint8_t g, std::uint8_t b) {
  int nearest = 0;
  int smallest = 3 * 256 * 256;
  for (const Tone& tone : kTones) {
    const int dr = r - tone.rgb[0], dg = g - tone.rgb[1], db = b - tone.rgb[2];
    const int distance = dr * dr + dg * dg + db * db;
    if (distance >= smallest) continue;
    smallest = distance;
    nearest = tone.name;
  }
  return nearest;
}

std::array<int, kNumAttributes> attribute_sizes(const EmojiFont& font) {
  return {narrow<int>(size_of(font.groups)), narrow<int>(size_of(colour_names())), kNumBackgrounds, 4, 4};
}

std::array<int, kNumAttributes> attribute_values(const EmojiFont& font, const Scene& scene) {
  const Emoji& emoji = font.emoji.at(to_index(scene.emoji));
  return {emoji.group, emoji.colour, scene.background, scene.count - 1, scene.turn};
}

std::vector<std::uint8_t> draw_scene(const EmojiFont& font, const Scene& scene, RandomStream stream) {
  ensure(scene.count >= 1 && scene.count <= kCells, "a scene holds 1 to 4 copies");
  ensure(scene.turn >= 0 && scene.turn < 4, "a scene is turned by 0 to 3 quarter turns");
  constexpr std::int64_t kPlane = kSceneSize * kSceneSize;
  std::vector<std::uint8_t> pixels;
  pixels.reserve(to_index(3 * kPlane));
  for (const std::uint8_t level : kBackgrounds.at(to_index(scene.background))) {
    pixels.insert(pixels.end(), to_index(kPlane), level);
  }
  const Emoji& emoji = font.emoji.at(to_index(scene.emoji));
  for (const std::int64_t cell : stream.sample({0, 1, 2, 3}, scene.count)) {
    draw_copy(emoji.rgba, scene.turn, cell, pixels);
  }
  return pixels;
}

std::vector<Scene> shuffled_scenes(const EmojiFont& font, std::uint64_t seed, std::int64_t count) {
  const std::int64_t total = size_of(font.emoji) * kNumBackgrounds * kCountsTimesTurns;
  if (count > total) {
    throw_bad_input("found " + std::to_string(count) + " scenes wanted, but " + std::to_string(size_of(font.emoji)) +
                        " emoji make only " + std::to_string(total) + " different ones",
                    "demo.lvlm_scenes + demo.library + demo.train + demo.validation + demo.test",
                    "lower one of these settings");
  }
  std::vector<std::int64_t> numbers(to_index(total));
  std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
  RandomStream stream(seed, "scenes");
  std::vector<Scene> scenes;
  scenes.reserve(to_index(count));
  for (const std::int64_t number : stream.sample(std::move(numbers), count)) scenes.push_back(scene_of_number(number));
  return scenes;
}

}  // namespace saber::demo
