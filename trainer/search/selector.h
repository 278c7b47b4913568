// SabER in use: queries in, ordered demonstrations out.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "trainer/model/features.h"

namespace saber {

struct Selection {
  std::vector<std::int64_t> rows;         // library rows, in the order in which the LVLM reads them
  std::vector<double> log_probabilities;  // of each choice, given those before it
};

// Finds the rows that show a given picture, by image_uri or pixels.
class PictureIndex {
 public:
  PictureIndex(const EmbeddingSet& set, const std::vector<std::int64_t>& rows);
  // Positions in `rows` that show the picture of `row` of `other` (which may be the same set).
  std::span<const std::int64_t> positions_of(const EmbeddingSet& other, std::int64_t row) const;

 private:
  std::unordered_map<std::uint64_t, std::vector<std::int64_t>> positions_;
};

class Selector {
 public:
  // Fuses the library (split 0 of `library`) once. References must outlive the selector.
  Selector(SaberModel model, const EmbeddingSet& library, const Features& features);

  // Greedy: at each position the item of largest logit among those that are not chosen yet and do not show the query's
  // own picture; never [EOS]. Throws bad_input when the library has fewer than `shots` such rows.
  std::vector<Selection> select(const EmbeddingSet& queries, const Features& query_features,
                                std::span<const std::int64_t> rows, std::int64_t shots);

 private:
  void select_block(const EmbeddingSet& queries, const Features& query_features, std::span<const std::int64_t> rows,
                    std::int64_t shots, std::vector<Selection>& out);

  SaberModel model_;
  std::vector<std::int64_t> library_rows_;
  PictureIndex pictures_;
  torch::Tensor keys_;  // [K, d]
};

}  // namespace saber
