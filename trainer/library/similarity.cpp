#include "trainer/library/similarity.h"

#include <array>

namespace saber {
namespace {

// Eight partial sums in a fixed order: fast, and the same bits everywhere.
float dot(const float* a, const float* b, std::int64_t width) {
  std::array<float, 8> sums{};
  std::int64_t i = 0;
  for (; i + 8 <= width; i += 8) {
    for (std::size_t lane = 0; lane < 8; ++lane)
      sums[lane] += a[i + static_cast<std::int64_t>(lane)] * b[i + static_cast<std::int64_t>(lane)];
  }
  for (; i < width; ++i) sums[0] += a[i] * b[i];
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

using RowOf = std::span<const float> (EmbeddingSet::*)(std::int64_t) const;

// Adds weight * <mine, row of the library> to `out`.
void add_dots(const EmbeddingSet& set, RowOf row_of, std::span<const float> mine,
              const std::vector<std::int64_t>& library, float weight, std::vector<float>& out) {
  const auto width = static_cast<std::int64_t>(mine.size());
  for (std::size_t i = 0; i < library.size(); ++i)
    out[i] += weight * dot(mine.data(), (set.*row_of)(library[i]).data(), width);
}

}  // namespace

Similarity::Similarity(const EmbeddingSet& set) : set_(set), library_(set.rows_of(Split::library)) {
  std::erase_if(library_, [&](std::int64_t row) { return !set.holds(row); });
}

std::vector<float> Similarity::image(std::int64_t row) const {
  std::vector<float> out(library_.size());
  add_dots(set_, &EmbeddingSet::image_of, set_.image_of(row), library_, 1.0F, out);
  return out;
}

std::vector<float> Similarity::image_and_query(std::int64_t row) const {
  std::vector<float> out(library_.size());
  add_dots(set_, &EmbeddingSet::image_of, set_.image_of(row), library_, 0.5F, out);
  add_dots(set_, &EmbeddingSet::query_of, set_.query_of(row), library_, 0.5F, out);
  return out;
}

std::vector<float> Similarity::query_result(std::span<const float> vector) const {
  std::vector<float> out(library_.size());
  add_dots(set_, &EmbeddingSet::query_result_of, vector, library_, 1.0F, out);
  return out;
}

}  // namespace saber
