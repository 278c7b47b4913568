#include "data/tree_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {

TreeReader::TreeReader(const EmbeddingSet& set, const ScoreTree& tree, std::string place) : tree_(tree) {
  if (tree.origin.data_fingerprint != set.fingerprint) {
    throw_bad_input(fmt::format("was made from a data set with fingerprint {}, this one has {}",
                                tree.origin.data_fingerprint, set.fingerprint),
                    place, "score this data set again, or name the one the tree was made from in data.embeddings");
  }
  const RowsById rows(set);
  const auto row_of = [&](std::int64_t id, const char* column, std::int64_t node, bool library) {
    const std::optional<std::int64_t> found = rows.find(id);
    if (!found || (library && set.split[to_index(*found)] != Split::library)) {
      throw_bad_input(fmt::format("holds id {}, which is no {} of the data set", id, library ? "library row" : "row"),
                      fmt::format("{} {} row {}", place, column, node));
    }
    return *found;
  };
  children_.resize(to_index(tree.size()));
  for (std::int64_t node = 0; node < tree.size(); ++node) {
    const std::int64_t parent = tree.parent[to_index(node)];
    query_row_.push_back(row_of(tree.query[to_index(node)], "/node/query", node, false));
    demonstration_row_.push_back(parent < 0 ? -1 : row_of(tree.demonstration[to_index(node)], "/node/icd", node, true));
    if (parent >= 0) children_[to_index(parent)].push_back(node);
  }
}

std::vector<std::int64_t> TreeReader::path(std::int64_t node) const {
  std::vector<std::int64_t> rows;
  for (; tree_.parent[to_index(node)] >= 0; node = tree_.parent[to_index(node)])
    rows.push_back(demonstration_row(node));
  std::reverse(rows.begin(), rows.end());
  return rows;
}

}  // namespace saber
