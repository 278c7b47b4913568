#include "trainer/reward/reward_store.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "core/narrow.h"

namespace saber {
namespace {

constexpr double kFailed = std::numeric_limits<double>::quiet_NaN();

// Appends a node for every prefix of `shots` (ids) that the query does not have yet. `path`: nodes of the sequence that
// was added before, whose order puts equal prefixes side by side.
void add_sequence(QueryNodes& nodes, std::vector<std::int64_t>& path, std::span<const std::int64_t> shots,
                  double reward) {
  std::size_t shared = 0;
  while (shared < shots.size() && shared + 1 < path.size() &&
         nodes.demonstration[to_index(path[shared + 1])] == shots[shared])
    ++shared;
  path.resize(std::min(path.size(), shared + 1));
  for (std::size_t depth = path.size(); depth <= shots.size(); ++depth) {
    nodes.parent.push_back(depth == 0 ? -1 : path.back());
    nodes.demonstration.push_back(depth == 0 ? -1 : shots[depth - 1]);
    nodes.reward.push_back(kFailed);
    nodes.status.push_back(NodeStatus::prefix_only);
    path.push_back(nodes.size() - 1);
  }
  nodes.reward[to_index(path.back())] = reward;
  nodes.status[to_index(path.back())] = std::isnan(reward) ? NodeStatus::failed : NodeStatus::scored;
}

}  // namespace

RewardStore::Key RewardStore::key_of(const DemonstrationSequence& sequence) {
  Key key = {sequence.query};
  key.insert(key.end(), sequence.shots.begin(), sequence.shots.end());
  return key;
}

void RewardStore::add_known(const TreeReader& reader, std::int64_t shots) {
  const ScoreTree& tree = reader.tree();
  for (std::int64_t node = 0; node < tree.size(); ++node) {
    if (tree.status[to_index(node)] != NodeStatus::scored) continue;
    const std::vector<std::int64_t> path = reader.path(node);
    if (size_of(path) == shots) known_[key_of({reader.query_row(node), path})] = tree.reward[to_index(node)];
  }
}

void RewardStore::add_known_to(Fingerprint& print) const {
  for (const auto& [key, reward] : known_) {
    print.add_values(std::span<const std::int64_t>(key));
    print.add_values(std::span<const double>(&reward, 1));
  }
}

void RewardStore::add(const DemonstrationSequence& sequence, std::optional<double> reward) {
  const Key key = key_of(sequence);
  if (!known_.contains(key)) own_[key] = reward.value_or(kFailed);
}

std::optional<double> RewardStore::find(const DemonstrationSequence& sequence) const {
  const Key key = key_of(sequence);
  for (const auto* rewards : {&own_, &known_}) {
    const auto found = rewards->find(key);
    if (found != rewards->end() && !std::isnan(found->second)) return found->second;
  }
  return std::nullopt;
}

ScoreTree RewardStore::tree(ScoreTreeOrigin origin) const {
  std::vector<QueryNodes> queries;
  std::vector<std::int64_t> path;
  for (const auto& [key, reward] : own_) {
    const std::int64_t query = set_.id[to_index(key.front())];
    if (queries.empty() || queries.back().query != query) {
      queries.emplace_back().query = query;
      path.clear();
    }
    std::vector<std::int64_t> ids;
    for (std::size_t i = 1; i < key.size(); ++i) ids.push_back(set_.id[to_index(key[i])]);
    add_sequence(queries.back(), path, ids, reward);
  }
  return build_score_tree(std::move(origin), std::move(queries));
}

}  // namespace saber
