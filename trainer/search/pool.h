// Candidate pools of a query: which library rows the search may use (docs/model.md, The score tree).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/embedding_set.h"

namespace saber {

// Cosine similarities of one row to all library rows. Rows of the set are L2-normalised.
class Similarity {
 public:
  explicit Similarity(const EmbeddingSet& set);

  const std::vector<std::int64_t>& library() const { return library_; }
  // [K], in library order.
  std::vector<float> image(std::int64_t row) const;
  // Half the sum of the picture's and the question's cosine, [K].
  std::vector<float> image_and_query(std::int64_t row) const;

 private:
  const EmbeddingSet& set_;
  std::vector<std::int64_t> library_;
};

// The `count` library rows of largest score among those that `allowed` accepts; ties go to the smaller row. Best first.
template <class Allowed>
std::vector<std::int64_t> top_rows(const Similarity& similarity, const std::vector<float>& scores, std::int64_t count,
                                   Allowed allowed);

struct PoolSettings {
  std::string kind;          // random | similarity | mixed
  std::int64_t size = 0;     // c
  std::int64_t nearest = 0;  // similarity and mixed draw from so many nearest rows
  std::int64_t seed = 0;
};

// Library rows, ascending; a function of (seed, query id) and the data alone. random: c rows of the library;
// similarity: the c nearest by image_and_query; mixed: half drawn from the `nearest` nearest, the rest from the whole
// library. Rows with the query's own picture are left out. Throws bad_input when fewer than c rows are left.
std::vector<std::int64_t> candidate_pool(const PoolSettings& settings, const EmbeddingSet& set,
                                         const Similarity& similarity, std::int64_t query_row);

template <class Allowed>
std::vector<std::int64_t> top_rows(const Similarity& similarity, const std::vector<float>& scores, std::int64_t count,
                                   Allowed allowed) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (allowed(similarity.library()[i])) order.push_back(i);
  }
  const std::size_t kept = std::min(order.size(), static_cast<std::size_t>(count));
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
      [&](std::size_t a, std::size_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < kept; ++i) rows.push_back(similarity.library()[order[i]]);
  return rows;
}

}  // namespace saber
