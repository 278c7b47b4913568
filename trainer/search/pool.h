// Candidate pools of a query: which library rows the search may use (docs/model.md, The score tree).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/embedding_set.h"

namespace saber {

// Cosine similarities of one row to the library rows that this rank holds. Rows of the set are L2-normalised.
class Similarity {
 public:
  explicit Similarity(const EmbeddingSet& set);

  // [K], or a share of them.
  const std::vector<std::int64_t>& library() const { return library_; }
  // In the order of library().
  std::vector<float> image(std::int64_t row) const;
  // Half the sum of the picture's and the question's cosine.
  std::vector<float> image_and_query(std::int64_t row) const;
  // Inner products with a vector [D_T] of the library rows' question and result.
  std::vector<float> query_result(std::span<const float> vector) const;

 private:
  const EmbeddingSet& set_;
  std::vector<std::int64_t> library_;
};

struct ScoredRow {
  std::int64_t row = 0;
  double score = 0;
};
// Larger scores come first; ties go to the smaller row.
inline bool comes_first(const ScoredRow& a, const ScoredRow& b) {
  return a.score != b.score ? a.score > b.score : a.row < b.row;
}

// The `count` first of the rows that `allowed` accepts, best first.
template <class Allowed>
std::vector<ScoredRow> top_rows(const Similarity& similarity, const std::vector<float>& scores, std::int64_t count,
                                Allowed allowed);

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

template <class Allowed>
std::vector<ScoredRow> top_rows(const Similarity& similarity, const std::vector<float>& scores, std::int64_t count,
                                Allowed allowed) {
  std::vector<ScoredRow> rows;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (allowed(similarity.library()[i])) rows.push_back({similarity.library()[i], scores[i]});
  }
  const std::size_t kept = std::min(rows.size(), static_cast<std::size_t>(count));
  std::partial_sort(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(kept), rows.end(), comes_first);
  rows.resize(kept);
  return rows;
}

}  // namespace saber
