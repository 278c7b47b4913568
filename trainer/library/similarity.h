// How similar a query is to the rows of the library.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
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
