// The probability of whole demonstration sequences under SabER: each item's among those that the query may still use,
// [EOS] left out (docs/model.md, eq. 12). The query's own pictures and earlier items take no part.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/library/library_head.h"
#include "trainer/model/features.h"
#include "trainer/reward/scorer.h"

namespace saber {

// Sequences as the softmax sees them: a row for each position of each sequence. All have the same length, at least 1.
class SequencePositions {
 public:
  // Rows of the library's own set. Sequences of one query that follow each other are read together.
  SequencePositions(const Library& library, std::span<const DemonstrationSequence> sequences);

  // At each position what was chosen, and what could not be.
  SoftmaxRows rows() const;
  // z before each position, [sequences * length, d]. keys: of head.keys(model). Collective where the head is sharded.
  torch::Tensor read(SaberModel& model, const LibraryHead& head, const Features& features,
                     const torch::Tensor& keys) const;

 private:
  std::int64_t length_ = 0;
  std::vector<std::int64_t> queries_;      // rows, each once
  std::vector<std::int64_t> of_sequence_;  // its place in queries_
  std::vector<std::int64_t> items_, prefixes_;
  std::vector<std::vector<std::int64_t>> unusable_;  // at each position
};

// log P of each sequence. keys: of head.keys(model). No gradient. Collective where the head is sharded.
std::vector<double> sequence_log_probabilities(SaberModel& model, const LibraryHead& head, const Features& features,
                                               const torch::Tensor& keys,
                                               std::span<const DemonstrationSequence> sequences);

}  // namespace saber
