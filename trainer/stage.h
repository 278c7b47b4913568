// The stages of a run: what is learned, in which batches, at which rates, for how many steps.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/sampling_plan.h"
#include "trainer/objective/objective.h"
#include "trainer/objective/reinforce.h"
#include "trainer/train_settings.h"

namespace saber {

struct Stage {
  std::string name;  // listwise | imitate | reinforce
  std::shared_ptr<Objective> objective;
  SamplingPlan plan;
  OptimiserSettings optimiser;
  std::int64_t first_step = 0;  // of the run, from 0
  std::int64_t num_steps = 0;
};

// What the stages learn from. All must outlive the stages.
struct StageInputs {
  const EmbeddingSet& set;
  const Features& features;
  const std::vector<ScoreTree>& trees;
  const std::vector<std::string>& places;  // of the trees, for messages
  Scorer* scorer = nullptr;                // for reinforce, else not needed
  HeadOptions head = {};
  c10::Device reward_carrier = at::kCPU;  // for reinforce, see gather_rewards
};

// Stages of one kind share one objective. Throws bad_input, naming the place, when a tree belongs to another data set,
// names unknown ids, or holds nothing to learn from.
std::vector<Stage> make_stages(const TrainSettings& settings, std::uint64_t seed, const StageInputs& inputs);

// 32 hex digits over what all stages learn from.
std::string fingerprint_of(const std::vector<Stage>& stages);
// Null when no stage reinforces.
Reinforce* reinforce_of(const std::vector<Stage>& stages);

}  // namespace saber
