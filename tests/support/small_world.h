// A small synthetic data set and score tree. Rows, ids and places in the library all differ, and what must never be
// read (results of rows that are no library rows) is NaN.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/embedding_set.h"
#include "data/score_tree.h"

namespace saber::test {

struct SmallSetSizes {
  std::int64_t library = 40;
  std::int64_t queries = 12;  // half train, a quarter validation, a quarter test
  std::int64_t tasks = 2;
  std::int64_t image_width = 8;
  std::int64_t text_width = 8;
  std::int64_t picture_size = 0;  // height and width of pictures; 0: image_uri instead of pixels
  std::int64_t num_words = 5;     // results are "w0", "w1", ...
};

// Rows 2 k and 2 k + 1 show the same picture. Ids are 7 * row + 3. Some queries share theirs with a library row.
EmbeddingSet small_set(const SmallSetSizes& sizes = {}, std::int64_t seed = 1);

// A tree as beam search would leave it, with random rewards, for the train queries of `set`; every seventh sequence
// failed.
ScoreTree small_tree(const EmbeddingSet& set, std::int64_t shots = 3, std::int64_t pool_size = 6, std::int64_t beam = 2,
                     std::int64_t seed = 1);

// What rank `rank` holds of `set` when the library is sharded.
EmbeddingSet share_of(const EmbeddingSet& set, std::int64_t rank, std::int64_t world_size);

// The origin of a tree for `set`, for trees that a test builds by hand.
ScoreTreeOrigin origin_for(const EmbeddingSet& set, std::int64_t shots);

}  // namespace saber::test
