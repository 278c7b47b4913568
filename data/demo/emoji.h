// Colour emoji of Debian's fonts-noto-color-emoji, named and grouped by Unicode's emoji-test.txt. The only file that
// knows FreeType.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace saber::demo {

inline constexpr int kEmojiSize = 20;  // pixels

struct Emoji {
  std::uint32_t code_point = 0;
  std::string name;
  int group = 0;                   // row of EmojiFont::groups
  int colour = 0;                  // row of colour_names() in scenes.h, by majority of its pixels
  std::vector<std::uint8_t> rgba;  // [20, 20, 4], straight alpha, rendered from the font's bitmap by area averaging
};

struct EmojiFont {
  std::vector<std::string> groups;  // in order of first appearance
  std::vector<Emoji> emoji;  // fully-qualified single code points that the font draws, in order of emoji-test.txt
};

// Throws bad_input that names the missing file and the Debian package which holds it.
EmojiFont load_emoji(const std::filesystem::path& font_file, const std::filesystem::path& emoji_test_file);

}  // namespace saber::demo
