// The library as SabER chooses from it: its rows in order, and for each query those that show the query's own picture.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/slice.h"
#include "data/embedding_set.h"

namespace saber {

// "Item i" is row rows()[i] of the set, 0 <= i < K.
class Library {
 public:
  // Throws bad_input when the set has no library rows. The set must outlive the library.
  explicit Library(const EmbeddingSet& set);

  const EmbeddingSet& set() const { return set_; }
  const std::vector<std::int64_t>& rows() const { return rows_; }
  std::int64_t size() const { return static_cast<std::int64_t>(rows_.size()); }
  std::int64_t id(std::int64_t item) const {
    return set_.id[static_cast<std::size_t>(rows_[static_cast<std::size_t>(item)])];
  }
  std::int64_t item_of(std::int64_t row) const { return item_of_row_[static_cast<std::size_t>(row)]; }  // -1: no item

  // Items that show the picture of `row` of `queries` (which may be another set), by image_uri or pixels.
  std::span<const std::int64_t> same_picture(const EmbeddingSet& queries, std::int64_t row) const;
  // The same for many queries and a slice of the items: bool [rows, items], true where the item must not be chosen.
  // A row of -1 is no query and may choose anything.
  torch::Tensor own_pictures(const EmbeddingSet& queries, std::span<const std::int64_t> rows, Slice items) const;

 private:
  const EmbeddingSet& set_;
  std::vector<std::int64_t> rows_, item_of_row_;
  std::unordered_map<std::uint64_t, std::vector<std::int64_t>> items_of_picture_;  // by hash of URI or pixels
};

}  // namespace saber
