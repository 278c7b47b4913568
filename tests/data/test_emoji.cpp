#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "core/error.h"
#include "data/demo/emoji.h"
#include "data/demo/scenes.h"

namespace saber::demo {
namespace {

constexpr const char* kFont = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";
constexpr const char* kEmojiTest = "/usr/share/unicode/emoji/emoji-test.txt";

const EmojiFont& debian_emoji() {
  static const EmojiFont font = load_emoji(kFont, kEmojiTest);
  return font;
}

const Emoji& emoji_of(std::uint32_t code_point) {
  const auto& all = debian_emoji().emoji;
  const auto found = std::find_if(all.begin(), all.end(), [&](const Emoji& e) { return e.code_point == code_point; });
  if (found == all.end()) throw std::runtime_error("no such emoji");
  return *found;
}

std::string colour_of(std::uint32_t code_point) {
  return colour_names()[static_cast<std::size_t>(emoji_of(code_point).colour)];
}

std::filesystem::path written(const std::string& text) {
  const auto path = std::filesystem::path(testing::TempDir()) / ("emoji-test-" + std::to_string(::getpid()) + ".txt");
  std::ofstream(path) << text;
  return path;
}

Error error_of(const std::filesystem::path& font, const std::filesystem::path& emoji_test) {
  try {
    load_emoji(font, emoji_test);
  } catch (const Error& error) {
    return error;
  }
  throw std::runtime_error("load_emoji did not throw");
}

TEST(Emoji, AllOfUnicode15WithoutComponents) {
  const EmojiFont& font = debian_emoji();
  EXPECT_EQ(font.emoji.size(), 1377u);
  const std::vector<std::string> groups = {"Smileys & Emotion", "People & Body",   "Animals & Nature",
                                           "Food & Drink",      "Travel & Places", "Activities",
                                           "Objects",           "Symbols",         "Flags"};
  EXPECT_EQ(font.groups, groups);
  std::set<std::uint32_t> code_points;
  for (const Emoji& emoji : font.emoji) {
    code_points.insert(emoji.code_point);
    ASSERT_EQ(emoji.rgba.size(), 1600u) << emoji.name;
    ASSERT_LT(emoji.group, 9);
  }
  EXPECT_EQ(code_points.size(), font.emoji.size());
}

TEST(Emoji, NamesAndGroups) {
  EXPECT_EQ(emoji_of(0x1F600).name, "grinning face");
  EXPECT_EQ(emoji_of(0x1F600).group, 0);
  EXPECT_EQ(emoji_of(0x2764).name, "red heart");  // listed with the selector FE0F
  EXPECT_EQ(debian_emoji().groups[static_cast<std::size_t>(emoji_of(0x1F355).group)], "Food & Drink");
}

TEST(Emoji, ColoursAreWhatOneSees) {
  EXPECT_EQ(colour_of(0x2764), "red");
  EXPECT_EQ(colour_of(0x1F9E1), "orange");
  EXPECT_EQ(colour_of(0x1F600), "yellow");
  EXPECT_EQ(colour_of(0x1F332), "green");  // evergreen tree: a dark green
  EXPECT_EQ(colour_of(0x1F499), "blue");
  EXPECT_EQ(colour_of(0x1F49C), "purple");
  EXPECT_EQ(colour_of(0x1FA77), "pink");
  EXPECT_EQ(colour_of(0x1F90E), "brown");
  EXPECT_EQ(colour_of(0x1F5A4), "black");
  EXPECT_EQ(colour_of(0x1FA76), "grey");
  EXPECT_EQ(colour_of(0x1F90D), "white");
}

// The red circle is a disc that fills its square in width: opaque and red inside, empty in the corners, and as far
// from the top as from the bottom.
TEST(Emoji, ShrunkWithItsAspectAndStraightAlpha) {
  const std::vector<std::uint8_t>& rgba = emoji_of(0x1F534).rgba;
  const auto at = [&](int row, int column, int channel) {
    return static_cast<int>(rgba[static_cast<std::size_t>((row * kEmojiSize + column) * 4 + channel)]);
  };
  EXPECT_EQ(at(10, 10, 3), 255);
  EXPECT_GT(at(10, 10, 0), 180);
  EXPECT_LT(at(10, 10, 2), 100);
  for (const int corner : {0, kEmojiSize - 1}) {
    EXPECT_EQ(at(corner, 0, 3), 0);
    EXPECT_EQ(at(corner, kEmojiSize - 1, 3), 0);
  }
  for (int row = 0; row < kEmojiSize; ++row) {
    for (int column = 0; column < kEmojiSize; ++column) {
      // Premultiplied colours would fade to black at the edge; straight ones stay red.
      if (at(row, column, 3) > 20) {
        EXPECT_GT(at(row, column, 0), 150) << row << ", " << column;
      }
    }
  }
}

TEST(Emoji, MissingFilesNameTheirPackage) {
  const Error no_font = error_of("/nowhere/font.ttf", kEmojiTest);
  EXPECT_EQ(no_font.kind(), ErrorKind::bad_input);
  EXPECT_EQ(no_font.place(), "/nowhere/font.ttf");
  EXPECT_NE(no_font.hint().find("fonts-noto-color-emoji"), std::string::npos);
  const Error no_names = error_of(kFont, "/nowhere/emoji-test.txt");
  EXPECT_EQ(no_names.kind(), ErrorKind::bad_input);
  EXPECT_NE(no_names.hint().find("unicode-data"), std::string::npos);
}

TEST(Emoji, KeepsOnlySingleFullyQualifiedCodePointsThatTheFontDraws) {
  const auto path = written(
      "# group: A\n"
      "1F600 ; fully-qualified # x E1.0 first\n"
      "2764 FE0F ; fully-qualified # x E0.6 second\n"
      "2764 ; unqualified # x E0.6 no\n"
      "1F1E6 1F1E8 ; fully-qualified # x E2.0 a sequence\n"
      "# group: Component\n"
      "1F3FB ; component # x E1.0 a skin tone\n"
      "# group: B\n"
      "0391 ; fully-qualified # x E1.0 not in the font\n");
  const EmojiFont font = load_emoji(kFont, path);
  ASSERT_EQ(font.emoji.size(), 2u);
  EXPECT_EQ(font.emoji[0].name, "first");
  EXPECT_EQ(font.emoji[1].code_point, 0x2764u);
  EXPECT_EQ(font.groups, std::vector<std::string>{"A"});
}

TEST(Emoji, DamagedListNamesItsLine) {
  const Error bad_code = error_of(kFont, written("# group: A\nhello ; fully-qualified # x E1.0 name\n"));
  EXPECT_EQ(bad_code.kind(), ErrorKind::bad_input);
  EXPECT_NE(bad_code.place().find("line 2"), std::string::npos);
  EXPECT_NE(bad_code.message().find("hello"), std::string::npos);
  EXPECT_EQ(error_of(kFont, written("nothing here\n")).kind(), ErrorKind::bad_input);
  EXPECT_EQ(error_of(kFont, written("1F600 ; fully-qualified # x E1.0 no group\n")).kind(), ErrorKind::bad_input);
}

TEST(Emoji, AFileThatIsNoFontIsRefused) {
  const auto path = written("this is no font\n");
  EXPECT_EQ(error_of(path, kEmojiTest).place(), path.string());
}

}  // namespace
}  // namespace saber::demo
