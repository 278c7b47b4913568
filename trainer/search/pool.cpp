#include "trainer/search/pool.h"

#include <fmt/format.h>

#include <array>

#include "core/error.h"
#include "core/narrow.h"
#include "core/random.h"
#include "trainer/search/held_rows.h"

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

std::vector<std::int64_t> candidate_pool(const PoolSettings& settings, const EmbeddingSet& set,
                                         const Similarity& similarity, std::int64_t query_row) {
  std::vector<std::int64_t> allowed;
  for (const std::int64_t row : similarity.library()) {
    if (!set.same_picture(row, query_row)) allowed.push_back(row);
  }
  const std::int64_t id = set.id[index_of(query_row)];
  if (size_of(allowed) < settings.size) {
    throw_bad_input(
        fmt::format("score.pool_size is {}, the library has {} rows for query {}", settings.size, allowed.size(), id));
  }
  RandomStream stream(narrow<std::uint64_t>(settings.seed), "pool", {id});
  std::vector<std::int64_t> pool;
  if (settings.kind != "random") {
    const bool mixed = settings.kind == "mixed";
    const std::int64_t from = mixed ? std::max(settings.nearest, settings.size / 2) : settings.size;
    for (const ScoredRow& scored : top_rows(similarity, similarity.image_and_query(query_row), from,
                                            [&](std::int64_t row) { return !set.same_picture(row, query_row); }))
      pool.push_back(scored.row);
    if (mixed) pool = stream.sample(std::move(pool), settings.size / 2);
  }
  std::sort(pool.begin(), pool.end());
  std::vector<std::int64_t> rest;
  std::set_difference(allowed.begin(), allowed.end(), pool.begin(), pool.end(), std::back_inserter(rest));
  for (const std::int64_t row : stream.sample(std::move(rest), settings.size - size_of(pool))) pool.push_back(row);
  std::sort(pool.begin(), pool.end());
  return pool;
}

}  // namespace saber
