// A score tree in terms of the data set's rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/embedding_set.h"
#include "data/score_tree.h"

namespace saber {

class TreeReader {
 public:
  // Throws bad_input naming `place` when the tree was made from another data set or names ids that are no library rows
  // (no rows at all for queries).
  TreeReader(const EmbeddingSet& set, const ScoreTree& tree, std::string place);

  const ScoreTree& tree() const { return tree_; }
  const std::vector<std::vector<std::int64_t>>& children() const { return children_; }  // of each node, in tree order
  std::int64_t query_row(std::int64_t node) const { return query_row_[static_cast<std::size_t>(node)]; }
  std::int64_t demonstration_row(std::int64_t node) const { return demonstration_row_[static_cast<std::size_t>(node)]; }
  // Library rows from the root's first demonstration to this node's.
  std::vector<std::int64_t> path(std::int64_t node) const;

 private:
  const ScoreTree& tree_;
  std::vector<std::int64_t> query_row_, demonstration_row_;
  std::vector<std::vector<std::int64_t>> children_;
};

}  // namespace saber
