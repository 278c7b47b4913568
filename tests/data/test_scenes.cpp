#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "core/error.h"
#include "data/demo/scenes.h"

namespace saber::demo {
namespace {

using Picture = std::vector<std::uint8_t>;

// Two hand-made emoji: one with a different colour at every pixel and some transparency, one all green.
EmojiFont small_font() {
  EmojiFont font;
  font.groups = {"Smileys & Emotion", "Objects"};
  Emoji gradient{.code_point = 1, .name = "gradient", .group = 1, .colour = 4, .rgba = {}};
  Emoji green{.code_point = 2, .name = "green", .group = 0, .colour = 3, .rgba = {}};
  for (int i = 0; i < kEmojiSize * kEmojiSize; ++i) {
    const auto level = [](int value) { return static_cast<std::uint8_t>(value % 256); };
    for (const int value : {i, i / 256 * 200, i * 7, i % 3 == 0 ? 90 : 255}) gradient.rgba.push_back(level(value));
    for (const int value : {40, 130, 60, 255}) green.rgba.push_back(level(value));
  }
  font.emoji = {gradient, green};
  return font;
}

std::uint8_t& at(Picture& picture, int channel, int row, int column) {
  return picture[static_cast<std::size_t>((channel * kSceneSize + row) * kSceneSize + column)];
}

// Every cell of the grid by itself, a quarter turn counter-clockwise: its right column becomes its top row.
Picture turn_cells(Picture picture) {
  Picture turned = picture;
  for (int c = 0; c < 3; ++c) {
    for (int row = 0; row < kSceneSize; ++row) {
      for (int column = 0; column < kSceneSize; ++column) {
        const int top = row / kEmojiSize * kEmojiSize, left = column / kEmojiSize * kEmojiSize;
        at(turned, c, row, column) = at(picture, c, top + (column - left), left + (kEmojiSize - 1 - (row - top)));
      }
    }
  }
  return turned;
}

Picture draw(const EmojiFont& font, const Scene& scene) {
  return draw_scene(font, scene, RandomStream(3, "cells"));
}

TEST(Scenes, EightBackgroundsAreNamedByColours) {
  EXPECT_EQ(colour_names().size(), 11u);
  EXPECT_EQ(std::set<std::string>(colour_names().begin(), colour_names().end()).size(), 11u);
  ASSERT_EQ(background_names().size(), static_cast<std::size_t>(kNumBackgrounds));
  EmojiFont font = small_font();
  for (std::uint8_t& value : font.emoji[0].rgba) value = 0;  // invisible
  std::set<std::string> seen;
  for (int background = 0; background < kNumBackgrounds; ++background) {
    Picture picture = draw(font, {.emoji = 0, .background = background});
    const int colour = nearest_colour(at(picture, 0, 5, 5), at(picture, 1, 5, 5), at(picture, 2, 5, 5));
    EXPECT_EQ(colour_names()[static_cast<std::size_t>(colour)],
              background_names()[static_cast<std::size_t>(background)]);
    seen.insert(colour_names()[static_cast<std::size_t>(colour)]);
    for (int c = 0; c < 3; ++c) EXPECT_EQ(at(picture, c, 0, 0), at(picture, c, 39, 39));
  }
  EXPECT_EQ(seen.size(), 8u);
}

TEST(Scenes, NearestColourOfPureTones) {
  const auto name = [](std::uint8_t r, std::uint8_t g, std::uint8_t b) {
    return colour_names()[static_cast<std::size_t>(nearest_colour(r, g, b))];
  };
  EXPECT_EQ(name(255, 0, 0), "red");
  EXPECT_EQ(name(255, 255, 255), "white");
  EXPECT_EQ(name(0, 0, 0), "black");
  EXPECT_EQ(name(128, 128, 128), "grey");
  EXPECT_EQ(name(0, 100, 255), "blue");
  EXPECT_EQ(name(20, 120, 40), "green");
  EXPECT_EQ(name(139, 69, 19), "brown");
}

TEST(Scenes, AttributeValuesFollowTheScene) {
  const EmojiFont font = small_font();
  EXPECT_EQ(attribute_sizes(font), (std::array<int, 5>{2, 11, 8, 4, 4}));
  const Scene scene{.emoji = 0, .background = 6, .count = 3, .turn = 2};
  EXPECT_EQ(attribute_values(font, scene), (std::array<int, 5>{1, 4, 6, 2, 2}));
}

TEST(Scenes, EachTurnIsAQuarterTurnAndFourAreNone) {
  const EmojiFont font = small_font();
  for (int turn = 0; turn < 4; ++turn) {
    const Scene before{.emoji = 0, .background = 1, .count = 4, .turn = turn};
    const Scene after{.emoji = 0, .background = 1, .count = 4, .turn = (turn + 1) % 4};
    EXPECT_EQ(turn_cells(draw(font, before)), draw(font, after)) << "turn " << turn;
  }
}

TEST(Scenes, HoldsAsManyCopiesAsItSays) {
  const EmojiFont font = small_font();
  std::set<int> used_cells;
  for (int count = 1; count <= 4; ++count) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      Picture picture = draw_scene(font, {.emoji = 1, .background = 0, .count = count}, RandomStream(seed, "cells"));
      int copies = 0;
      for (int cell = 0; cell < 4; ++cell) {
        const bool filled = at(picture, 1, cell / 2 * kEmojiSize, cell % 2 * kEmojiSize) == 130;
        copies += filled;
        if (filled && count == 1) used_cells.insert(cell);
      }
      EXPECT_EQ(copies, count);
    }
  }
  EXPECT_EQ(used_cells.size(), 4u);
}

TEST(Scenes, BlendsInWholeNumbers) {
  EmojiFont font = small_font();
  for (std::size_t i = 0; i < font.emoji[1].rgba.size(); i += 4) {
    font.emoji[1].rgba[i] = 200;
    font.emoji[1].rgba[i + 3] = 103;
  }
  Picture picture = draw(font, {.emoji = 1, .background = 7, .count = 4});  // on white
  EXPECT_EQ(at(picture, 0, 0, 0), 233);                                     // 232.8: rounded, not cut
}

TEST(Scenes, ShuffledScenesAreAllDifferentAndOneOrder) {
  const EmojiFont font = small_font();
  const std::vector<Scene> all = shuffled_scenes(font, 7, 2 * 8 * 4 * 4);
  std::set<std::tuple<int, int, int, int>> different;
  for (const Scene& s : all) different.insert({s.emoji, s.background, s.count, s.turn});
  EXPECT_EQ(different.size(), 256u);
  for (const Scene& s : all) {
    EXPECT_TRUE(s.emoji < 2 && s.background < 8 && s.count >= 1 && s.count <= 4 && s.turn < 4);
  }
  const std::vector<Scene> first = shuffled_scenes(font, 7, 50);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), all.begin()));
  EXPECT_NE(shuffled_scenes(font, 8, 50), first);
}

TEST(Scenes, MoreScenesThanThereAreIsBadInput) {
  try {
    shuffled_scenes(small_font(), 7, 257);
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
    EXPECT_NE(error.message().find("257"), std::string::npos);
    EXPECT_NE(error.message().find("256"), std::string::npos);
  }
}

}  // namespace
}  // namespace saber::demo
