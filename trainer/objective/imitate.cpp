#include "trainer/objective/imitate.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/hash.h"
#include "core/narrow.h"
#include "trainer/objective/sample_name.h"

namespace saber {

Imitate::Imitate(double temperature, const EmbeddingSet& set, const Features& features, const HeadOptions& head)
    : temperature_(temperature), set_(set), features_(features), library_(set), head_(library_, features, head) {}

void Imitate::add(const TreeReader& reader) {
  const ScoreTree& tree = reader.tree();
  std::map<std::int64_t, std::vector<std::int64_t>> leaves;  // by query row
  for (std::int64_t node = 0; node < tree.size(); ++node) {
    if (tree.status[to_index(node)] == NodeStatus::scored && size_of(reader.path(node)) == tree.origin.shots) {
      leaves[reader.query_row(node)].push_back(node);
    }
  }
  for (auto& [query, nodes] : leaves) {
    const auto reward = [&](std::int64_t node) { return tree.reward[to_index(node)]; };
    std::stable_sort(nodes.begin(), nodes.end(), [&](std::int64_t a, std::int64_t b) { return reward(a) > reward(b); });
    nodes.resize(std::min(nodes.size(), to_index(2 * tree.origin.shots)));
    double total = 0;
    std::vector<double> weights;
    for (const std::int64_t node : nodes) {
      weights.push_back(temperature_ > 0 ? std::exp((reward(node) - reward(nodes[0])) / temperature_) : 1.0);
      total += weights.back();
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      sequences_.push_back({query, reader.path(nodes[i]), weights[i] * static_cast<double>(nodes.size()) / total});
    }
  }
}

std::vector<std::vector<std::int64_t>> Imitate::groups() const {
  std::vector<std::vector<std::int64_t>> by_length;
  for (std::int64_t unit = 0; unit < num_units(); ++unit) {
    const std::size_t length = sequences_[to_index(unit)].rows.size();
    if (by_length.size() <= length) by_length.resize(length + 1);
    by_length[length].push_back(unit);
  }
  return by_length;
}

torch::Tensor Imitate::loss_sum(SaberModel& model, std::span<const std::int64_t> units) const {
  const auto batch = static_cast<std::int64_t>(units.size());
  const std::int64_t length = size_of(sequences_[to_index(units[0])].rows);
  std::vector<std::int64_t> queries, items, targets;
  std::vector<std::vector<std::int64_t>> used;  // before each position
  torch::Tensor weight = torch::empty({batch, 1}, torch::kFloat64);
  for (std::int64_t b = 0; b < batch; ++b) {
    const Sequence& sequence = sequences_[to_index(units[to_index(b)])];
    ensure(size_of(sequence.rows) == length, "an imitate batch holds sequences of one length");
    queries.push_back(sequence.query);
    weight[b][0] = sequence.weight;
    std::vector<std::int64_t> prefix;
    for (const std::int64_t row : sequence.rows) {
      targets.push_back(library_.item_of(row));
      used.push_back(prefix);
      prefix.push_back(targets.back());
    }
    targets.push_back(library_.size());  // [EOS] is the last key
    used.push_back(prefix);
    items.insert(items.end(), prefix.begin(), prefix.end());
  }
  const torch::Tensor keys = head_.keys(model);
  const torch::Tensor shots = head_.items(model, rows_tensor(items), keys).view({batch, length, keys.size(1)});
  const torch::Tensor z = model(features_.queries(queries), shots).flatten(0, 1);
  const SoftmaxRows rows{rows_tensor(targets), padded_rows(used)};
  const torch::Tensor log_p = head_.log_softmax(model, z, keys, rows, /*with_end=*/true).view({batch, length + 1});
  return -(log_p.mean(1, /*keepdim=*/true) * weight.to(log_p.options())).sum();
}

std::string Imitate::sample_name(std::int64_t unit) const {
  const Sequence& sequence = sequences_[to_index(unit)];
  return name_of_sample(set_, sequence.query, sequence.rows);
}

std::string Imitate::fingerprint() const {
  Fingerprint print;
  print.add_text("imitate");
  for (const Sequence& sequence : sequences_) {
    print.add_values(std::span<const std::int64_t>(&sequence.query, 1));
    print.add_values(std::span<const std::int64_t>(sequence.rows));
    print.add_values(std::span<const double>(&sequence.weight, 1));
  }
  return print.hex();
}

}  // namespace saber
