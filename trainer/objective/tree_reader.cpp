#include "trainer/objective/tree_reader.h"

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
  std::unordered_map<std::int64_t, std::int64_t> row_of_id;
  for (std::int64_t row = 0; row < set.num_rows; ++row) row_of_id[set.id[index_of(row)]] = row;
  const auto row_of = [&](std::int64_t id, const char* column, std::int64_t node, bool library) {
    const auto found = row_of_id.find(id);
    if (found == row_of_id.end() || (library && set.split[index_of(found->second)] != Split::library)) {
      throw_bad_input(fmt::format("holds id {}, which is no {} of the data set", id, library ? "library row" : "row"),
                      fmt::format("{} {} row {}", place, column, node));
    }
    return found->second;
  };
  children_.resize(index_of(tree.size()));
  for (std::int64_t node = 0; node < tree.size(); ++node) {
    const std::int64_t parent = tree.parent[index_of(node)];
    query_row_.push_back(row_of(tree.query[index_of(node)], "/node/query", node, false));
    icd_row_.push_back(parent < 0 ? -1 : row_of(tree.icd[index_of(node)], "/node/icd", node, true));
    if (parent >= 0) children_[index_of(parent)].push_back(node);
  }
}

std::vector<std::int64_t> TreeReader::path(std::int64_t node) const {
  std::vector<std::int64_t> rows;
  for (; tree_.parent[index_of(node)] >= 0; node = tree_.parent[index_of(node)]) rows.push_back(icd_row(node));
  std::reverse(rows.begin(), rows.end());
  return rows;
}

}  // namespace saber
