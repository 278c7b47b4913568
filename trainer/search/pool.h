// Candidate pools of a query: which library rows the search may use (docs/model.md, The score tree).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/embedding_set.h"
#include "trainer/library/similarity.h"

namespace saber {

struct PoolSettings {
  std::string kind;          // random | similarity | mixed
  std::int64_t size = 0;     // c
  std::int64_t nearest = 0;  // similarity and mixed draw from so many nearest rows
  std::int64_t seed = 0;
};

// Library rows, ascending; a function of (seed, query id) and the data alone. random: c rows of the library;
// similarity: the c nearest by image_and_query; mixed: half drawn from the `nearest` nearest, the rest from the whole
// library. Rows with the query's own picture are left out. The set is a whole one. Throws bad_input when fewer than c
// rows are left.
std::vector<std::int64_t> candidate_pool(const PoolSettings& settings, const EmbeddingSet& set,
                                         const Similarity& similarity, std::int64_t query_row);

}  // namespace saber
