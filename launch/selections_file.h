// Demonstrations that were chosen elsewhere, as files: JSON lines {"id": query, "demonstrations": [{"id": library row},
// ...]} with any other members (docs/formats.md). `saber select` writes such files, too.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/embedding_set.h"

namespace saber {

// Library rows in reading order, by row of the query.
using RowsByQuery = std::map<std::int64_t, std::vector<std::int64_t>>;

// Throws bad_input that names file and line: no such JSON, an id that the set does not hold, a demonstration that is no
// library row or shows the query's own picture, a query that occurs twice. A selection may hold a row twice.
RowsByQuery read_selections(const std::string& path, const EmbeddingSet& set);

// One line, with its end.
std::string selection_line(const EmbeddingSet& set, std::int64_t query_row, const std::vector<std::int64_t>& rows);

}  // namespace saber
