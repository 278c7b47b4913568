#include "trainer/library/library.h"

#include <optional>

#include "core/error.h"
#include "core/hash.h"
#include "core/narrow.h"

namespace saber {
namespace {

std::optional<std::uint64_t> picture_hash(const EmbeddingSet& set, std::int64_t row) {
  if (!set.image_uri.empty()) {
    const std::string& uri = set.image_uri[to_index(row)];
    return uri.empty() ? std::nullopt : std::optional(hash64(uri));
  }
  if (set.pixels.empty()) return std::nullopt;
  const std::span<const std::uint8_t> picture = set.pixels_of(row);
  return hash64({reinterpret_cast<const char*>(picture.data()), picture.size()});
}

}  // namespace

Library::Library(const EmbeddingSet& set)
    : set_(set), rows_(set.rows_of(Split::library)), item_of_row_(to_index(set.num_rows), -1) {
  if (rows_.empty()) throw_bad_input("has no library rows", "/split");
  for (std::int64_t item = 0; item < size(); ++item) {
    const std::int64_t row = rows_[to_index(item)];
    item_of_row_[to_index(row)] = item;
    if (const auto hash = picture_hash(set, row)) items_of_picture_[*hash].push_back(item);
  }
}

std::span<const std::int64_t> Library::same_picture(const EmbeddingSet& queries, std::int64_t row) const {
  const auto hash = picture_hash(queries, row);
  const auto found = hash ? items_of_picture_.find(*hash) : items_of_picture_.end();
  return found == items_of_picture_.end() ? std::span<const std::int64_t>{} : std::span(found->second);
}

torch::Tensor Library::own_pictures(const EmbeddingSet& queries, std::span<const std::int64_t> rows,
                                    Slice items) const {
  torch::Tensor out = torch::zeros({static_cast<std::int64_t>(rows.size()), items.size()}, torch::kBool);
  auto unusable = out.accessor<bool, 2>();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] < 0) continue;
    for (const std::int64_t item : same_picture(queries, rows[i])) {
      if (item >= items.begin && item < items.end) unusable[static_cast<std::int64_t>(i)][item - items.begin] = true;
    }
  }
  return out;
}

}  // namespace saber
