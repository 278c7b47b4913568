#include "data/score_tree.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "core/error.h"
#include "core/narrow.h"
#include "data/hdf5_file.h"

namespace saber {
namespace {

constexpr const char* kFormat = "saber-scores";
constexpr std::int64_t kVersion = 1;

// Children of each node, by icd id; the last entry holds the roots.
std::vector<std::vector<std::int64_t>> children_of(const QueryNodes& nodes) {
  const std::int64_t size = nodes.size();
  std::vector<std::vector<std::int64_t>> children(to_index(size + 1));
  for (std::int64_t node = 0; node < size; ++node) {
    const std::int64_t parent = nodes.parent[to_index(node)];
    ensure(parent >= -1 && parent < size, "a node's parent is a node of its query");
    ensure((parent == -1) == (nodes.demonstration[to_index(node)] == -1), "the root alone has no demonstration");
    children[to_index(parent == -1 ? size : parent)].push_back(node);
  }
  ensure(children.back().size() == 1, "a query has one root");
  const auto icd = [&](std::int64_t node) { return nodes.demonstration[to_index(node)]; };
  for (auto& siblings : children) {
    std::sort(siblings.begin(), siblings.end(), [&](std::int64_t a, std::int64_t b) { return icd(a) < icd(b); });
    const auto twins = std::adjacent_find(siblings.begin(), siblings.end(),
                                          [&](std::int64_t a, std::int64_t b) { return icd(a) == icd(b); });
    ensure(twins == siblings.end(), "a sequence is scored once");
  }
  return children;
}

// One NaN for all rows without a reward: others differ in bits that nobody sees.
double stored_reward(double reward, NodeStatus status) {
  if (status != NodeStatus::scored) return std::numeric_limits<double>::quiet_NaN();
  ensure(std::isfinite(reward), "a scored node has a finite reward");
  return reward;
}

// Breadth first, siblings by icd id: this is the order depth, parent row, icd id.
void append_query(ScoreTree& tree, const QueryNodes& nodes) {
  ensure(nodes.query >= 0, "a query's id is not negative");
  ensure(size_of(nodes.demonstration) == nodes.size() && size_of(nodes.reward) == nodes.size() &&
             size_of(nodes.status) == nodes.size(),
         "the columns of a query's nodes have equal lengths");
  const auto children = children_of(nodes);
  const std::int64_t first_row = tree.size();
  std::vector<std::int64_t> order = children.back();
  std::vector<std::int64_t> parent_row = {-1};
  for (std::int64_t i = 0; i < size_of(order); ++i) {
    const std::size_t node = to_index(order[to_index(i)]);
    tree.query.push_back(nodes.query);
    tree.parent.push_back(parent_row[to_index(i)]);
    tree.demonstration.push_back(nodes.demonstration[node]);
    tree.reward.push_back(stored_reward(nodes.reward[node], nodes.status[node]));
    tree.status.push_back(nodes.status[node]);
    for (const std::int64_t child : children[node]) {
      order.push_back(child);
      parent_row.push_back(first_row + i);
    }
  }
  ensure(size_of(order) == nodes.size(), "every node hangs on its query's root");
}

ScoreTreeOrigin read_origin(const Hdf5Reader& file) {
  file.require_format(kFormat, kVersion);
  ScoreTreeOrigin origin;
  origin.scorer = file.text_attribute("scorer");
  origin.prompt_template = file.text_attribute("prompt_template");
  origin.reduction = file.text_attribute("reduction");
  origin.data_fingerprint = file.text_attribute("data_fingerprint");
  origin.pool = file.text_attribute("pool");
  origin.shots = file.int_attribute("shots");
  origin.beam = file.int_attribute("beam");
  origin.pool_size = file.int_attribute("pool_size");
  origin.seed = file.int_attribute("seed");
  return origin;
}

void write_origin(Hdf5Writer& file, const ScoreTreeOrigin& origin) {
  file.set_attribute("scorer", origin.scorer);
  file.set_attribute("prompt_template", origin.prompt_template);
  file.set_attribute("reduction", origin.reduction);
  file.set_attribute("data_fingerprint", origin.data_fingerprint);
  file.set_attribute("pool", origin.pool);
  file.set_attribute("shots", origin.shots);
  file.set_attribute("beam", origin.beam);
  file.set_attribute("pool_size", origin.pool_size);
  file.set_attribute("seed", origin.seed);
}

// Parents come in the order of their rows and children after their parents, so ascending (parent, icd) within a query
// is the order depth, parent row, icd id.
void check_position(const Hdf5Reader& file, const ScoreTree& tree, std::int64_t row, std::int64_t root) {
  const auto fail = [&](const char* name, std::int64_t found, const std::string& wanted) {
    throw_bad_input("is " + std::to_string(found) + ", wanted " + wanted, file.place(name, row));
  };
  const std::size_t i = to_index(row);
  if (row == root) {
    if (tree.query[i] < 0) fail("/node/query", tree.query[i], "a number >= 0");
    if (row > 0 && tree.query[i] < tree.query[i - 1]) fail("/node/query", tree.query[i], "rows ordered by query id");
    if (tree.parent[i] != -1) fail("/node/parent", tree.parent[i], "-1, since this is the first row of its query");
    if (tree.demonstration[i] != -1) fail("/node/icd", tree.demonstration[i], "-1 at a root");
    return;
  }
  if (tree.parent[i] < root || tree.parent[i] >= row) {
    fail("/node/parent", tree.parent[i], "an earlier row of the same query");
  }
  if (tree.demonstration[i] < 0) fail("/node/icd", tree.demonstration[i], "a number >= 0, since this is no root");
  if (std::pair(tree.parent[i], tree.demonstration[i]) <= std::pair(tree.parent[i - 1], tree.demonstration[i - 1])) {
    fail("/node/icd", tree.demonstration[i], "rows of a query ordered by depth, parent row and icd id, each once");
  }
}

void check_rows(const Hdf5Reader& file, const ScoreTree& tree) {
  std::int64_t root = 0;
  for (std::int64_t row = 0; row < tree.size(); ++row) {
    const std::size_t i = to_index(row);
    if (row > 0 && tree.query[i] != tree.query[i - 1]) root = row;
    check_position(file, tree, row, root);
    const bool scored = tree.status[i] == NodeStatus::scored;
    if (scored && !std::isfinite(tree.reward[i])) {
      throw_bad_input("is not finite, wanted a number since status is 0 (scored)", file.place("/node/reward", row));
    }
    if (!scored && !std::isnan(tree.reward[i])) {
      throw_bad_input("is a number, wanted NaN since status is not 0 (scored)", file.place("/node/reward", row));
    }
  }
}

}  // namespace

ScoreTree build_score_tree(ScoreTreeOrigin origin, std::vector<QueryNodes> queries) {
  std::sort(queries.begin(), queries.end(), [](const QueryNodes& a, const QueryNodes& b) { return a.query < b.query; });
  ScoreTree tree;
  tree.origin = std::move(origin);
  for (std::size_t i = 0; i < queries.size(); ++i) {
    ensure(i == 0 || queries[i].query != queries[i - 1].query, "a query is in a tree once");
    append_query(tree, queries[i]);
  }
  return tree;
}

void write_score_tree(const std::filesystem::path& path, const ScoreTree& tree) {
  std::vector<std::uint8_t> status;
  for (const NodeStatus value : tree.status) status.push_back(static_cast<std::uint8_t>(value));
  const Shape shape = {tree.size()};
  Hdf5Writer file(path, kFormat, kVersion);
  write_origin(file, tree.origin);
  file.add_group("/node");
  file.write<std::int64_t>("/node/query", tree.query, shape);
  file.write<std::int64_t>("/node/parent", tree.parent, shape);
  file.write<std::int64_t>("/node/icd", tree.demonstration, shape);
  file.write<double>("/node/reward", tree.reward, shape);
  file.write<std::uint8_t>("/node/status", status, shape);
  file.commit();
}

ScoreTree read_score_tree(const std::filesystem::path& path) {
  const Hdf5Reader file(path);
  ScoreTree tree;
  tree.origin = read_origin(file);
  tree.query = file.read<std::int64_t>("/node/query", {kAnySize});
  const Shape shape = {tree.size()};
  tree.parent = file.read<std::int64_t>("/node/parent", shape);
  tree.demonstration = file.read<std::int64_t>("/node/icd", shape);
  tree.reward = file.read<double>("/node/reward", shape);
  const auto status = file.read<std::uint8_t>("/node/status", shape);
  for (std::int64_t row = 0; row < tree.size(); ++row) {
    const std::uint8_t value = status[to_index(row)];
    if (value > 2) {
      throw_bad_input("is " + std::to_string(value) + ", wanted 0 (scored), 1 (failed) or 2 (only a prefix)",
                      file.place("/node/status", row));
    }
    tree.status.push_back(static_cast<NodeStatus>(value));
  }
  check_rows(file, tree);
  return tree;
}

ScoreTreeOrigin read_score_tree_origin(const std::filesystem::path& path) {
  return read_origin(Hdf5Reader(path));
}

}  // namespace saber
