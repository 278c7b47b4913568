#include "data/demo/emoji.h"

#include <ft2build.h>
#include FT_FREETYPE_H

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/narrow.h"
#include "data/demo/scenes.h"

namespace saber::demo {
namespace {

constexpr int kOpaque = 128;  // pixels with less alpha do not vote for the emoji's colour

void require_file(const std::filesystem::path& file, const char* setting, const char* package) {
  if (std::filesystem::is_regular_file(file)) return;
  throw_bad_input("no such file; wanted the one of Debian's package " + std::string(package), file.string(),
                  "apt-get install " + std::string(package) + ", or set " + setting + " to where the file is");
}

struct NamedCodePoint {
  std::uint32_t code_point;
  std::string name;
  std::string group;
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// "2764" or "2764 FE0F" (the same emoji, with the selector that asks for its coloured form); nothing for longer
// sequences.
std::optional<std::uint32_t> single_code_point(std::string_view field, const std::string& place) {
  std::istringstream words{std::string(field)};
  std::string first, second, third;
  words >> first >> second >> third;
  std::uint32_t value = 0;
  const auto [end, status] = std::from_chars(first.data(), first.data() + first.size(), value, 16);
  if (status != std::errc{} || end != first.data() + first.size()) {
    throw_bad_input("found '" + first + "', wanted a hexadecimal code point", place);
  }
  if (!third.empty() || (!second.empty() && second != "FE0F")) return std::nullopt;
  return value;
}

// The comment of a line is "<the emoji> E<version> <name>".
std::string name_in_comment(std::string_view comment, const std::string& place) {
  std::istringstream words{std::string(comment)};
  std::string drawn, version, name;
  words >> drawn >> version >> std::ws;
  std::getline(words, name);
  name = trimmed(name);
  if (name.empty()) throw_bad_input("found no name of the emoji after '#'", place);
  return name;
}

// The group "Component" (skin tones, hair) falls away by itself: its lines are not "fully-qualified".
std::vector<NamedCodePoint> parse_emoji_test(const std::filesystem::path& file) {
  constexpr std::string_view kGroup = "# group:";
  std::istringstream lines(read_file(file));
  std::vector<NamedCodePoint> found;
  std::string line, group;
  for (std::int64_t number = 1; std::getline(lines, line); ++number) {
    const std::string_view text = line;
    if (text.starts_with(kGroup)) group = trimmed(text.substr(kGroup.size()));
    const auto semicolon = text.find(';');
    if (semicolon == std::string_view::npos || text.front() == '#') continue;
    const std::string place = file.string() + " line " + std::to_string(number);
    const auto hash = text.find('#', semicolon);
    if (hash == std::string_view::npos) throw_bad_input("found no '#' before the emoji's name", place);
    if (trimmed(text.substr(semicolon + 1, hash - semicolon - 1)) != "fully-qualified") continue;
    const auto code_point = single_code_point(text.substr(0, semicolon), place);
    if (!code_point) continue;
    if (group.empty()) throw_bad_input("found an emoji before the first '# group:'", place);
    found.push_back({*code_point, name_in_comment(text.substr(hash + 1), place), group});
  }
  if (found.empty()) throw_bad_input("found no fully-qualified emoji of one code point", file.string());
  return found;
}

void check_freetype(FT_Error status, const char* what, const std::filesystem::path& file) {
  if (status == 0) return;
  throw_bad_input(std::string("FreeType could not ") + what + " (error " + std::to_string(status) + ")", file.string(),
                  "wanted the colour font of Debian's package fonts-noto-color-emoji, and a FreeType built with PNG");
}

// The largest bitmap strike of a colour font.
class BitmapFont {
 public:
  explicit BitmapFont(std::filesystem::path file) : file_(std::move(file)) {
    FT_Library library = nullptr;
    check_freetype(FT_Init_FreeType(&library), "start", file_);
    library_.reset(library);
    FT_Face face = nullptr;
    check_freetype(FT_New_Face(library, file_.c_str(), 0, &face), "open the font", file_);
    face_.reset(face);
    if (!FT_HAS_COLOR(face) || face->num_fixed_sizes < 1) {
      throw_bad_input("found a font without colour bitmaps, wanted one with them", file_.string(),
                      "set demo.font to NotoColorEmoji.ttf of Debian's package fonts-noto-color-emoji");
    }
    int largest = 0;
    for (int i = 1; i < face->num_fixed_sizes; ++i) {
      if (face->available_sizes[i].y_ppem > face->available_sizes[largest].y_ppem) largest = i;
    }
    check_freetype(FT_Select_Size(face, largest), "select the bitmap strike", file_);
  }

  // The glyph's bitmap (BGRA, colours multiplied by alpha), valid until the next call; null when the font lacks it.
  const FT_Bitmap* draw(std::uint32_t code_point) {
    const FT_UInt glyph = FT_Get_Char_Index(face_.get(), code_point);
    if (glyph == 0) return nullptr;
    check_freetype(FT_Load_Glyph(face_.get(), glyph, FT_LOAD_COLOR), "load a glyph", file_);
    const FT_Bitmap& bitmap = face_->glyph->bitmap;
    const bool usable = bitmap.pixel_mode == FT_PIXEL_MODE_BGRA && bitmap.width > 0 && bitmap.rows > 0;
    return usable ? &bitmap : nullptr;
  }

 private:
  struct Done {
    void operator()(FT_Library library) const { FT_Done_FreeType(library); }
    void operator()(FT_Face face) const { FT_Done_Face(face); }
  };
  std::filesystem::path file_;
  std::unique_ptr<FT_LibraryRec_, Done> library_;
  std::unique_ptr<FT_FaceRec_, Done> face_;  // after library_: it must go first
};

struct Share {
  std::int64_t source;  // pixel of the bitmap
  std::int64_t weight;
};

// How much of each bitmap pixel falls on pixel `target` of 20, along one axis. The longer side of the bitmap fills the
// square, the shorter one is centred. Lengths are in twentieths of a bitmap pixel, so that all of them are whole
// numbers.
std::vector<Share> shares_of(std::int64_t target, std::int64_t length, std::int64_t longer_side) {
  const std::int64_t margin = (longer_side - length) * kEmojiSize / 2;
  const std::int64_t begin = target * longer_side - margin;
  const std::int64_t end = begin + longer_side;
  std::vector<Share> shares;
  for (std::int64_t i = 0; i < length; ++i) {
    const std::int64_t overlap = std::min(end, (i + 1) * kEmojiSize) - std::max(begin, i * kEmojiSize);
    if (overlap > 0) shares.push_back({i, overlap});
  }
  return shares;
}

// One RGBA pixel, straight alpha: the mean of the premultiplied bitmap under it, divided by the mean alpha.
std::array<std::uint8_t, 4> mean_pixel(const FT_Bitmap& bitmap, const std::vector<Share>& rows,
                                       const std::vector<Share>& columns, std::int64_t area) {
  std::array<std::int64_t, 4> sum{};  // blue, green, red, alpha
  for (const Share& row : rows) {
    const unsigned char* line = bitmap.buffer + row.source * bitmap.pitch;
    for (const Share& column : columns) {
      for (std::size_t c = 0; c < 4; ++c) {
        sum[c] += row.weight * column.weight * line[column.source * 4 + static_cast<std::int64_t>(c)];
      }
    }
  }
  const std::int64_t alpha = sum[3];
  if (alpha == 0) return {0, 0, 0, 0};
  const auto straight = [&](std::int64_t colour) {
    return narrow<std::uint8_t>(std::min<std::int64_t>(255, (colour * 255 + alpha / 2) / alpha));
  };
  return {straight(sum[2]), straight(sum[1]), straight(sum[0]), narrow<std::uint8_t>((alpha + area / 2) / area)};
}

std::vector<std::uint8_t> shrink(const FT_Bitmap& bitmap) {
  const std::int64_t longer_side = std::max(bitmap.width, bitmap.rows);
  std::vector<std::vector<Share>> columns;
  columns.reserve(kEmojiSize);
  for (int x = 0; x < kEmojiSize; ++x) columns.push_back(shares_of(x, bitmap.width, longer_side));
  std::vector<std::uint8_t> rgba;
  rgba.reserve(kEmojiSize * kEmojiSize * 4);
  for (int y = 0; y < kEmojiSize; ++y) {
    const std::vector<Share> rows = shares_of(y, bitmap.rows, longer_side);
    for (const std::vector<Share>& shares : columns) {
      const auto pixel = mean_pixel(bitmap, rows, shares, longer_side * longer_side);
      rgba.insert(rgba.end(), pixel.begin(), pixel.end());
    }
  }
  return rgba;
}

// -1 when no pixel is opaque.
int majority_colour(const std::vector<std::uint8_t>& rgba) {
  std::vector<int> votes(colour_names().size(), 0);
  for (std::size_t i = 0; i < rgba.size(); i += 4) {
    if (rgba[i + 3] >= kOpaque) ++votes[static_cast<std::size_t>(nearest_colour(rgba[i], rgba[i + 1], rgba[i + 2]))];
  }
  const auto most = std::max_element(votes.begin(), votes.end());
  return *most == 0 ? -1 : static_cast<int>(most - votes.begin());
}

int row_of_group(std::vector<std::string>& groups, const std::string& name) {
  const auto found = std::find(groups.begin(), groups.end(), name);
  const auto row = static_cast<int>(found - groups.begin());
  if (found == groups.end()) groups.push_back(name);
  return row;
}

}  // namespace

EmojiFont load_emoji(const std::filesystem::path& font_file, const std::filesystem::path& emoji_test_file) {
  require_file(font_file, "demo.font", "fonts-noto-color-emoji");
  require_file(emoji_test_file, "demo.emoji_test", "unicode-data");
  BitmapFont bitmaps(font_file);
  EmojiFont font;
  for (NamedCodePoint& named : parse_emoji_test(emoji_test_file)) {
    const FT_Bitmap* bitmap = bitmaps.draw(named.code_point);
    if (bitmap == nullptr) continue;
    std::vector<std::uint8_t> rgba = shrink(*bitmap);
    const int colour = majority_colour(rgba);
    if (colour < 0) continue;
    const int group = row_of_group(font.groups, named.group);
    font.emoji.push_back({named.code_point, std::move(named.name), group, colour, std::move(rgba)});
  }
  if (font.emoji.empty()) throw_bad_input("found none of the emoji of emoji-test.txt in the font", font_file.string());
  return font;
}

}  // namespace saber::demo
