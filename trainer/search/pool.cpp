#include "trainer/search/pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "core/error.h"
#include "core/narrow.h"
#include "core/random.h"

namespace saber {

std::vector<std::int64_t> candidate_pool(const PoolSettings& settings, const EmbeddingSet& set,
                                         const Similarity& similarity, std::int64_t query_row) {
  std::vector<std::int64_t> allowed;
  for (const std::int64_t row : similarity.library()) {
    if (!set.same_picture(row, query_row)) allowed.push_back(row);
  }
  const std::int64_t id = set.id[to_index(query_row)];
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
