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

RowsById::RowsById(const EmbeddingSet& set) {
  rows_.reserve(set.id.size());
  for (std::int64_t row = 0; row < set.num_rows; ++row) rows_.emplace(set.id[to_index(row)], row);
}

std::optional<std::int64_t> RowsById::find(std::int64_t id) const {
  const auto found = rows_.find(id);
  return found == rows_.end() ? std::nullopt : std::optional(found->second);
}

bool EmbeddingSet::same_picture(std::int64_t a, std::int64_t b) const {
  if (a == b) return true;
  if (!image_uri.empty()) {
    const std::string& uri = image_uri.at(to_index(a));
    return !uri.empty() && uri == image_uri.at(to_index(b));
  }
  if (pixels.empty()) return false;
  const auto first = pixels_of(a), second = pixels_of(b);
  return std::equal(first.begin(), first.end(), second.begin());
}

}  // namespace saber
