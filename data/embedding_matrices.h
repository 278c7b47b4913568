// The matrices of an embedding set, read block by block: checked, hashed, and kept where this rank holds the row.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/embedding_set.h"

namespace saber {

// Where the rows of one part lie in the set.
struct MatrixPart {
  std::filesystem::path path;
  std::int64_t first_row = 0;
  std::int64_t num_rows = 0;
  bool has_results = false;  // /query_result is there
};

// Fills `slot` and the three matrices of `set`, all of whose other members are there, and with share.check the
// fingerprint. Throws bad_input naming file, data set and row.
void read_matrices(const std::vector<MatrixPart>& parts, const EmbeddingShare& share, EmbeddingSet& set);

}  // namespace saber
