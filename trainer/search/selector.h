// SabER in use: queries in, ordered demonstrations out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/library/library_head.h"
#include "trainer/model/features.h"
#include "trainer/search/constraints.h"

namespace saber {

struct Selection {
  std::vector<std::int64_t> rows;         // library rows, in the order in which the LVLM reads them
  std::vector<double> log_probabilities;  // of each choice, given those before it
};

class Selector {
 public:
  // Queries that a rank reads at once. Shorter blocks are filled up, so that bits do not depend on it.
  static constexpr std::int64_t kBlock = 64;

  // Fuses the items of this rank's shard once. The head must outlive the selector. Throws bad_input when an excluded id
  // is no library row. Not collective.
  Selector(SaberModel model, const LibraryHead& head, const SelectOptions& options);

  // The sequence of largest probability that a beam search finds among the items that are not chosen yet, do not show
  // the query's own picture and meet the options; never [EOS]. Of equally probable ones, the smaller item is chosen (of
  // sequences: the one whose earlier part came first). A selection does not depend on the other queries, nor on the
  // number of shards but for rounding. Throws bad_input, naming the first such query, when the search finds no sequence
  // of `shots` items. Collective where the head is: all ranks give the same queries and have the same result or error;
  // each reads a block of queries at a time, and every shard serves the blocks of all ranks.
  std::vector<Selection> select(const EmbeddingSet& queries, const Features& query_features,
                                std::span<const std::int64_t> rows);

 private:
  struct Beams;
  struct Candidates;
  void select_blocks(const EmbeddingSet& queries, const Features& query_features, std::span<const std::int64_t> rows,
                     std::vector<Selection>& out);
  std::int64_t rank() const { return head_.sharded() ? head_.group()->getRank() : 0; }
  std::int64_t world_size() const { return head_.sharded() ? head_.group()->getSize() : 1; }
  Candidates of_shard(const torch::Tensor& z, const torch::Tensor& unusable) const;
  Candidates best(const torch::Tensor& z, const torch::Tensor& unusable) const;
  void extend(Beams& beams, const Candidates& candidates) const;
  void require_enough(const EmbeddingSet& queries, std::span<const std::int64_t> rows,
                      const torch::Tensor& unusable) const;
  void collect(const Beams& beams, const EmbeddingSet& queries, std::span<const std::int64_t> rows,
               std::vector<Selection>& out) const;
  [[noreturn]] void refuse(std::int64_t query_id) const;

  SaberModel model_;
  const LibraryHead& head_;
  SelectOptions options_;
  Constraints constraints_;
  torch::Tensor keys_;  // [items of the shard and what fills the last block up, d]
};

}  // namespace saber
