// Rows of a set whose library is shared out among the ranks.
#pragma once

#include <cstdint>
#include <vector>

#include "core/narrow.h"
#include "data/embedding_set.h"

namespace saber {

// Where the row's embeddings stand in the set's matrices; -1: another rank holds them.
inline std::int64_t place_of(const EmbeddingSet& set, std::int64_t row) {
  return set.place.empty() ? row : set.place[to_index(row)];
}

// The library rows whose embeddings this rank holds, in order.
inline std::vector<std::int64_t> held_library_rows(const EmbeddingSet& set) {
  std::vector<std::int64_t> rows = set.rows_of(Split::library);
  std::erase_if(rows, [&](std::int64_t row) { return place_of(set, row) < 0; });
  return rows;
}

}  // namespace saber
