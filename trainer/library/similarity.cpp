#include "trainer/library/similarity.h"

#include <array>

#include "core/narrow.h"
#include "trainer/library/held_rows.h"

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

// Adds weight * <mine, matrix[library row]> to `out`; matrix: of `set`.
void add_dots(const EmbeddingSet& set, const std::vector<float>& matrix, std::int64_t width, const float* mine,
              const std::vector<std::int64_t>& library, float weight, std::vector<float>& out) {
  for (std::size_t i = 0; i < library.size(); ++i)
    out[i] += weight * dot(mine, matrix.data() + place_of(set, library[i]) * width, width);
}

const float* vector_of(const EmbeddingSet& set, const std::vector<float>& matrix, std::int64_t width,
                       std::int64_t row) {
  return matrix.data() + place_of(set, row) * width;
}

}  // namespace

Similarity::Similarity(const EmbeddingSet& set) : set_(set), library_(held_library_rows(set)) {}

std::vector<float> Similarity::image(std::int64_t row) const {
  std::vector<float> out(library_.size());
  const std::int64_t width = set_.image_width;
  add_dots(set_, set_.image, width, vector_of(set_, set_.image, width, row), library_, 1.0F, out);
  return out;
}

std::vector<float> Similarity::image_and_query(std::int64_t row) const {
  std::vector<float> out(library_.size());
  const std::int64_t image = set_.image_width, text = set_.text_width;
  add_dots(set_, set_.image, image, vector_of(set_, set_.image, image, row), library_, 0.5F, out);
  add_dots(set_, set_.query, text, vector_of(set_, set_.query, text, row), library_, 0.5F, out);
  return out;
}

std::vector<float> Similarity::query_result(std::span<const float> vector) const {
  std::vector<float> out(library_.size());
  add_dots(set_, set_.query_result, set_.text_width, vector.data(), library_, 1.0F, out);
  return out;
}

}  // namespace saber
