// The problem that the training step is measured on: a synthetic data set and score tree, both from random streams, and
// its batches in files that a program in another language reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "trainer/model/features.h"
#include "trainer/model/saber_model.h"
#include "trainer/stage.h"

namespace saber {

// 3,000 library rows and 320 train queries with embeddings of width 768. Each query has one listwise node at each of
// the depths 0 to 3, with 12 to 32 scored children, so that every batch of 64 nodes is full.
EmbeddingSet step_data_set();
ScoreTree step_score_tree(const EmbeddingSet& set);

// A listwise node, rows of the data set. The same nodes, in the same order, as the units of the objective.
struct StepNode {
  std::int64_t query = 0;
  std::vector<std::int64_t> prefix, children;
  std::vector<double> rewards;
};
std::vector<StepNode> step_nodes(const EmbeddingSet& set, const ScoreTree& tree);

// Floating-point operations of the matrix products of one rank's share of a batch, forward and backward.
double step_flops(const ModelSettings& model, const EmbeddingWidths& widths, std::span<const std::int64_t> units,
                  const std::vector<StepNode>& nodes);

// Writes into `folder`:
//   weights.safetensors  the parameters as they are, with model.heads and the settings of learning as metadata
//   tables.safetensors   image, query, query_result [R, 768]; instruction [T, 768]
//   batches.safetensors  of step s = 0, 1, ...: s/queries, s/tasks [B]; s/prefix [B, depth]; s/children, s/rewards
//                        [B, width], padded with row 0 and reward -inf; s/learning_rate []
void export_problem(const std::filesystem::path& folder, const SaberModel& model, const Stage& stage,
                    double temperature, const EmbeddingSet& set, const std::vector<StepNode>& nodes,
                    std::int64_t steps);

}  // namespace saber
