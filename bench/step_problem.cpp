#include "bench/step_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/atomic_file.h"
#include "core/narrow.h"
#include "core/random.h"
#include "data/tree_reader.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

constexpr std::int64_t kDepths = 4, kFewestChildren = 12, kMostChildren = 32;

torch::Tensor matrix(const std::vector<float>& values, std::int64_t width) {
  return torch::tensor(at::ArrayRef<float>(values)).view({-1, width});
}

// One node at each depth; the first child goes on.
QueryNodes nodes_of_query(const EmbeddingSet& set, const std::vector<std::int64_t>& library, std::int64_t row) {
  RandomStream stream(1, "bench step", {row});
  const std::vector<std::int64_t> items = stream.sample(library, kDepths * kMostChildren);
  QueryNodes out;
  out.query = set.id[to_index(row)];
  const auto add = [&](std::int64_t parent, std::int64_t icd) {
    out.parent.push_back(parent);
    out.demonstration.push_back(icd);
    out.reward.push_back(stream.normal());
    out.status.push_back(NodeStatus::scored);
    return out.size() - 1;
  };
  std::int64_t parent = add(-1, -1);
  for (std::int64_t depth = 0; depth < kDepths; ++depth) {
    const std::int64_t children = kFewestChildren + stream.below(kMostChildren - kFewestChildren + 1);
    const std::int64_t first = out.size();
    for (std::int64_t c = 0; c < children; ++c)
      add(parent, set.id[to_index(items[to_index(depth * kMostChildren + c)])]);
    parent = first;
  }
  return out;
}

void add_batch(NamedTensors& out, const std::string& prefix, const EmbeddingSet& set,
               const std::vector<std::int64_t>& units, const std::vector<StepNode>& nodes) {
  const std::int64_t batch = size_of(units), depth = size_of(nodes[to_index(units[0])].prefix);
  std::int64_t width = 0;
  for (const std::int64_t unit : units) width = std::max(width, size_of(nodes[to_index(unit)].children));
  std::vector<std::int64_t> queries, tasks, shots, children(to_index(batch * width), 0);
  torch::Tensor rewards = torch::full({batch, width}, -std::numeric_limits<double>::infinity(), torch::kFloat64);
  for (std::int64_t b = 0; b < batch; ++b) {
    const StepNode& node = nodes[to_index(units[to_index(b)])];
    queries.push_back(node.query);
    tasks.push_back(set.task[to_index(node.query)]);
    shots.insert(shots.end(), node.prefix.begin(), node.prefix.end());
    std::copy(node.children.begin(), node.children.end(), children.begin() + b * width);
    std::copy(node.rewards.begin(), node.rewards.end(), rewards.data_ptr<double>() + b * width);
  }
  out[prefix + "queries"] = rows_tensor(queries);
  out[prefix + "tasks"] = rows_tensor(tasks);
  out[prefix + "prefix"] = rows_tensor(shots).view({batch, depth});
  out[prefix + "children"] = rows_tensor(children).view({batch, width});
  out[prefix + "rewards"] = rewards;
}

}  // namespace

EmbeddingSet step_data_set() {
  test::SmallSetSizes sizes;
  sizes.library = 3000;
  sizes.queries = 640;
  sizes.tasks = 8;
  sizes.image_width = sizes.text_width = 768;
  return test::small_set(sizes);
}

ScoreTree step_score_tree(const EmbeddingSet& set) {
  const std::vector<std::int64_t> library = set.rows_of(Split::library);
  std::vector<QueryNodes> queries;
  for (const std::int64_t row : set.rows_of(Split::train)) queries.push_back(nodes_of_query(set, library, row));
  return build_score_tree(test::origin_for(set, kDepths), std::move(queries));
}

std::vector<StepNode> step_nodes(const EmbeddingSet& set, const ScoreTree& tree) {
  const TreeReader reader(set, tree, "the benchmark's tree");
  std::vector<StepNode> nodes;
  for (std::int64_t i = 0; i < tree.size(); ++i) {
    if (reader.children()[to_index(i)].empty()) continue;
    StepNode node{reader.query_row(i), reader.path(i), {}, {}};
    for (const std::int64_t child : reader.children()[to_index(i)]) {
      node.children.push_back(reader.demonstration_row(child));
      node.rewards.push_back(tree.reward[to_index(child)]);
    }
    nodes.push_back(std::move(node));
  }
  return nodes;
}

double step_flops(const ModelSettings& model, const EmbeddingWidths& widths, std::span<const std::int64_t> units,
                  const std::vector<StepNode>& nodes) {
  std::size_t longest = 0;
  for (const std::int64_t unit : units) longest = std::max(longest, nodes[to_index(unit)].children.size());
  const auto b = static_cast<double>(units.size()), w = static_cast<double>(longest);
  const auto k = static_cast<double>(nodes[to_index(units[0])].prefix.size()), n = k + 1, length = k + 2;
  const auto d = static_cast<double>(model.width), blocks = static_cast<double>(model.blocks);
  const auto image = static_cast<double>(widths.image), text = static_cast<double>(widths.text);
  // Multiply-adds of the forward pass. Products with the frozen embeddings have one product in the backward pass, all
  // others two.
  const double embeddings = b * (n + w) * d * (image + text) + b * 4 * d * (image + 2 * text);
  const double block = 12 * length * d * d + 2 * length * length * d;
  const double mask = 2 * n * d * d + n * n * d, update = 3 * length * d * d + 2 * length * length * d;
  const double fusion_gate = (n + w) * 2 * d * d, guider_and_task = 6 * d * d, head = n * 2 * d * d + w * d;
  const double others = b * (blocks * (block + mask + update) + n * n * d + fusion_gate + guider_and_task + head);
  return 2 * (2 * embeddings + 3 * others);
}

void export_problem(const std::filesystem::path& folder, const SaberModel& model, const Stage& stage,
                    double temperature, const EmbeddingSet& set, const std::vector<StepNode>& nodes,
                    std::int64_t steps) {
  create_folders(folder);
  NamedTensors weights, batches;
  for (const auto& item : model->named_parameters()) weights[item.key()] = item.value().detach();
  const auto metadata = [](double value) { return fmt::format("{}", value); };
  write_file_atomic(folder / "weights.safetensors",
                    to_safetensors(weights, {{"heads", std::to_string(model->settings().heads)},
                                             {"temperature", metadata(temperature)},
                                             {"weight_decay", metadata(stage.optimiser.weight_decay)},
                                             {"clip", metadata(stage.optimiser.clip)}}));
  write_file_atomic(folder / "tables.safetensors",
                    to_safetensors({{"image", matrix(set.image, set.image_width)},
                                    {"query", matrix(set.query, set.text_width)},
                                    {"query_result", matrix(set.query_result, set.text_width)},
                                    {"instruction", matrix(set.tasks.embedding, set.text_width)}},
                                   {}));
  for (std::int64_t step = 0; step < steps; ++step) {
    const std::string prefix = std::to_string(step) + "/";
    add_batch(batches, prefix, set, stage.plan.batch(step), nodes);
    batches[prefix + "learning_rate"] =
        torch::full({}, learning_rate(stage.optimiser, step, stage.num_steps), torch::kFloat64);
  }
  write_file_atomic(folder / "batches.safetensors", to_safetensors(batches, {}));
}

}  // namespace saber
