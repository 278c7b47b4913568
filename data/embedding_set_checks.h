// What read_embedding_set does to rows once they are in memory. Knows no file format; `PlaceOfRow` names file, data set
// and row for messages.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/hash.h"
#include "data/embedding_set.h"

namespace saber {

using PlaceOfRow = std::function<std::string(std::int64_t row)>;

// Rows of `width` numbers: all finite, none all zeros.
void require_vectors(const std::vector<float>& matrix, std::int64_t width, const PlaceOfRow& place);
void require_unique_ids(const std::vector<std::int64_t>& id, const PlaceOfRow& place);
// Divides each row by its L2 norm; rows of zeros stay.
void normalise_rows(std::vector<float>& matrix, std::int64_t width);
std::string fingerprint_of(const EmbeddingSet& set);
// Everything that comes before the matrices, which are to follow in the order image, query, query_result.
void add_columns(const EmbeddingSet& set, Fingerprint& fingerprint);
// Throws internal when the columns do not have num_rows rows.
void require_consistent(const EmbeddingSet& set);

}  // namespace saber
