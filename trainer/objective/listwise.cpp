#include "trainer/objective/listwise.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "core/hash.h"
#include "core/narrow.h"
#include "trainer/model/precision.h"
#include "trainer/objective/sample_name.h"

namespace saber {

Listwise::Listwise(double temperature, const EmbeddingSet& set, const Features& features, const HeadOptions& head)
    : temperature_(temperature), set_(set), features_(features), library_(set), head_(library_, features, head) {}

void Listwise::add(const TreeReader& reader) {
  const ScoreTree& tree = reader.tree();
  for (std::int64_t i = 0; i < tree.size(); ++i) {
    Node node;
    for (const std::int64_t child : reader.children()[to_index(i)]) {
      if (tree.status[to_index(child)] != NodeStatus::scored) continue;
      node.children.push_back(reader.demonstration_row(child));
      node.rewards.push_back(tree.reward[to_index(child)]);
    }
    if (node.children.size() < 2) continue;
    node.query = reader.query_row(i);
    node.prefix = reader.path(i);
    nodes_.push_back(std::move(node));
  }
}

std::vector<std::vector<std::int64_t>> Listwise::groups() const {
  std::vector<std::vector<std::int64_t>> by_depth;
  for (std::int64_t unit = 0; unit < num_units(); ++unit) {
    const std::size_t depth = nodes_[to_index(unit)].prefix.size();
    if (by_depth.size() <= depth) by_depth.resize(depth + 1);
    by_depth[depth].push_back(unit);
  }
  return by_depth;
}

torch::Tensor Listwise::loss_sum(SaberModel& model, std::span<const std::int64_t> units) const {
  const auto batch = static_cast<std::int64_t>(units.size());
  const std::int64_t depth = size_of(nodes_[to_index(units[0])].prefix);
  std::int64_t width = 0;
  for (const std::int64_t unit : units) width = std::max(width, size_of(nodes_[to_index(unit)].children));

  // Shorter lists are padded with library rows that the softmax then leaves out.
  const std::int64_t filler = library_.item_of(nodes_[to_index(units[0])].children[0]);
  std::vector<std::int64_t> queries, prefix, children(to_index(batch * width), filler);
  const auto item_of = [&](std::int64_t row) { return library_.item_of(row); };
  torch::Tensor rewards = torch::full({batch, width}, -std::numeric_limits<double>::infinity(), torch::kFloat64);
  for (std::int64_t b = 0; b < batch; ++b) {
    const Node& node = nodes_[to_index(units[to_index(b)])];
    ensure(size_of(node.prefix) == depth, "a listwise batch holds nodes of one depth");
    queries.push_back(node.query);
    std::transform(node.prefix.begin(), node.prefix.end(), std::back_inserter(prefix), item_of);
    std::transform(node.children.begin(), node.children.end(), children.begin() + b * width, item_of);
    std::copy(node.rewards.begin(), node.rewards.end(), rewards.data_ptr<double>() + b * width);
  }
  const torch::Tensor e = head_.items(model, torch::cat({rows_tensor(prefix), rows_tensor(children)}));
  const torch::Tensor shots = e.narrow(0, 0, batch * depth).view({batch, depth, e.size(1)});
  const torch::Tensor keys = e.narrow(0, batch * depth, batch * width).view({batch, width, e.size(1)});
  const torch::Tensor z = model(features_.queries(queries), shots).select(1, depth);
  const torch::Tensor logits = full_precision(torch::matmul(keys, z.unsqueeze(2)).squeeze(2));
  const torch::Tensor target = (rewards / temperature_).softmax(1).to(logits.options());
  const torch::Tensor padding = rewards.isinf().to(logits.device());
  const torch::Tensor log_p = logits.masked_fill(padding, -1e30).log_softmax(1).masked_fill(padding, 0);
  return -(target * log_p).sum();
}

std::string Listwise::sample_name(std::int64_t unit) const {
  const Node& node = nodes_[to_index(unit)];
  return name_of_sample(set_, node.query, node.prefix);
}

std::string Listwise::fingerprint() const {
  Fingerprint print;
  print.add_text("listwise");
  for (const Node& node : nodes_) {
    print.add_values(std::span<const std::int64_t>(&node.query, 1));
    print.add_values(std::span<const std::int64_t>(node.prefix));
    print.add_values(std::span<const std::int64_t>(node.children));
    print.add_values(std::span<const double>(node.rewards));
  }
  return print.hex();
}

}  // namespace saber
