#include "trainer/objective/imitate.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/hash.h"
#include "core/narrow.h"
#include "trainer/objective/sample_name.h"

namespace saber {

Imitate::Imitate(double temperature, const EmbeddingSet& set, const Features& features)
    : temperature_(temperature), set_(set), features_(features), library_(set) {}

void Imitate::add(const TreeReader& reader) {
  const ScoreTree& tree = reader.tree();
  std::map<std::int64_t, std::vector<std::int64_t>> leaves;  // by query row
  for (std::int64_t node = 0; node < tree.size(); ++node) {
    if (tree.status[index_of(node)] == NodeStatus::scored && size_of(reader.path(node)) == tree.origin.shots) {
      leaves[reader.query_row(node)].push_back(node);
    }
  }
  for (auto& [query, nodes] : leaves) {
    const auto reward = [&](std::int64_t node) { return tree.reward[index_of(node)]; };
    std::stable_sort(nodes.begin(), nodes.end(), [&](std::int64_t a, std::int64_t b) { return reward(a) > reward(b); });
    nodes.resize(std::min(nodes.size(), index_of(2 * tree.origin.shots)));
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
    const std::size_t length = sequences_[index_of(unit)].rows.size();
    if (by_length.size() <= length) by_length.resize(length + 1);
    by_length[length].push_back(unit);
  }
  return by_length;
}

torch::Tensor Imitate::loss_sum(SaberModel& model, std::span<const std::int64_t> units) const {
  const auto batch = static_cast<std::int64_t>(units.size());
  const std::int64_t length = size_of(sequences_[index_of(units[0])].rows), keys_count = library_.size() + 1;
  std::vector<std::int64_t> queries, rows;
  torch::Tensor target = torch::full({batch, length + 1}, keys_count - 1, torch::kInt64);  // [EOS] is the last key
  torch::Tensor used = torch::zeros({batch, length + 1, keys_count}, torch::kBool);
  torch::Tensor weight = torch::empty({batch, 1}, torch::kFloat64);
  auto targets = target.accessor<std::int64_t, 2>();
  auto in_prefix = used.accessor<bool, 3>();
  for (std::int64_t b = 0; b < batch; ++b) {
    const Sequence& sequence = sequences_[index_of(units[index_of(b)])];
    ensure(size_of(sequence.rows) == length, "an imitate batch holds sequences of one length");
    queries.push_back(sequence.query);
    rows.insert(rows.end(), sequence.rows.begin(), sequence.rows.end());
    weight[b][0] = sequence.weight;
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int64_t item = library_.item_of(sequence.rows[index_of(i)]);
      targets[b][i] = item;
      for (std::int64_t later = i + 1; later <= length; ++later) in_prefix[b][later][item] = true;
    }
  }
  const torch::Tensor shots = features_.fuse(model, rows_tensor(rows).view({batch, length}));
  const torch::Tensor keys =
      torch::cat({features_.fuse(model, rows_tensor(library_.rows())), model->end_key().unsqueeze(0)});
  const torch::Tensor logits = torch::matmul(model(features_.queries(queries), shots), keys.t());
  const torch::Tensor log_p = logits.masked_fill(used, -1e30).log_softmax(2).gather(2, target.unsqueeze(2)).squeeze(2);
  return -(log_p.mean(1, /*keepdim=*/true) * weight.to(log_p.scalar_type())).sum();
}

std::string Imitate::sample_name(std::int64_t unit) const {
  const Sequence& sequence = sequences_[index_of(unit)];
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
