// Demonstration sequences drawn from SabER over the whole library. The noise is keyed by what it is for, so a sequence
// depends on the weights, the query and its own number alone: not on ranks, batches or other sequences.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/library/library_head.h"
#include "trainer/model/features.h"

namespace saber {

struct DrawSettings {
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::int64_t shots = 0;
};

struct Draw {
  std::int64_t query_row = 0;
  std::int64_t number = 0;  // among the query's draws of this step
};

// Items [draws, shots], int64 on the CPU: each drawn from the softmax over what is neither chosen yet nor the query's
// own picture, as the arg-max of logit + Gumbel noise of the stream (seed, "sample", step, query id, number, position),
// block = item id (docs/model.md, reinforce). keys: head.keys(model). Collective where the head is.
torch::Tensor sample_sequences(SaberModel& model, const LibraryHead& head, const Features& features,
                               const torch::Tensor& keys, const std::vector<Draw>& draws, const DrawSettings& settings);

}  // namespace saber
