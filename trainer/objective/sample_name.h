// How a sample is named in the list of sample ids: "query id/demonstration ids".
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/narrow.h"
#include "data/embedding_set.h"

namespace saber {

// query, shots: rows of the set.
inline std::string name_of_sample(const EmbeddingSet& set, std::int64_t query, const std::vector<std::int64_t>& shots) {
  std::vector<std::int64_t> ids;
  for (const std::int64_t row : shots) ids.push_back(set.id[to_index(row)]);
  return fmt::format("{}/{}", set.id[to_index(query)], fmt::join(ids, "/"));
}

}  // namespace saber
