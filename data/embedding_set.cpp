#include "data/embedding_set.h"

#include <algorithm>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

constexpr const char* kSplitNames[] = {"library", "train", "validation", "test"};

}  // namespace

Split split_of_name(const std::string& name) {
  const auto found = std::find(std::begin(kSplitNames), std::end(kSplitNames), name);
  if (found == std::end(kSplitNames)) {
    throw_bad_input("is '" + name + "', wanted library, train, validation or test", "name of a split");
  }
  return static_cast<Split>(found - std::begin(kSplitNames));
}

const char* name_of(Split split) {
  const auto number = static_cast<std::size_t>(split);
  ensure(number < std::size(kSplitNames), "a split is one of four");
  return kSplitNames[number];
}

std::vector<std::int64_t> EmbeddingSet::rows_of(Split wanted) const {
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    if (split[to_index(row)] == wanted) rows.push_back(row);
  }
  return rows;
}

std::int64_t EmbeddingSet::row_of_id(std::int64_t wanted) const {
  // Ids are often the row numbers.
  if (wanted >= 0 && wanted < num_rows && id[to_index(wanted)] == wanted) return wanted;
  const auto found = std::find(id.begin(), id.end(), wanted);
  return found == id.end() ? -1 : found - id.begin();
}

bool EmbeddingSet::same_picture(std::int64_t a, std::int64_t b) const {
  if (a == b) return true;
  if (!image_uri.empty()) {
    const std::string& uri = image_uri.at(to_index(a));
    return !uri.empty() && uri == image_uri.at(to_index(b));
  }
  if (pixels.empty()) return false;
  const std::int64_t size = 3 * pixel_height * pixel_width;
  const auto first = pixels.begin() + a * size;
  return std::equal(first, first + size, pixels.begin() + b * size);
}

}  // namespace saber
