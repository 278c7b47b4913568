// Settings of a training run: its stages, and how each kind of stage learns.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config_schema.h"
#include "trainer/objective/reinforce.h"
#include "trainer/optimiser/adamw.h"

namespace saber {

// "listwise 6 epochs", "reinforce 300 steps".
struct StageLength {
  std::string objective;  // listwise | imitate | reinforce
  std::int64_t count = 0;
  bool epochs = false;  // else steps
};
std::optional<StageLength> parse_stage(const std::string& text);

struct LearningSettings {
  std::int64_t batch_size = 64;  // units of all ranks together
  OptimiserSettings optimiser;

  void declare(Schema& schema, const std::string& prefix);
};

struct TrainSettings {
  std::vector<std::string> stages;                // train.stages
  std::vector<std::string> scores;                // train.scores: score trees
  LearningSettings listwise, imitate, reinforce;  // train.listwise.*, ...
  double listwise_temperature = 0;                // train.listwise.temperature, of the rewards
  double imitate_temperature = 0;        // train.imitate.temperature, 0: the sequences of a query weigh the same
  ReinforceSettings sampling;            // train.reinforce.*
  std::string precision;                 // train.precision: float32 | float64 | bf16
  std::int64_t micro_batch = 0;          // train.micro_batch
  std::int64_t check_weights_every = 0;  // train.check_weights_every
  std::int64_t max_steps = 0;            // train.max_steps: stop after so many steps; 0: after all stages
  std::int64_t log_every = 0;            // train.log_every
  std::int64_t checkpoint_every = 0;     // train.checkpoint_every
  std::int64_t keep = 0;                 // train.keep_checkpoints

  void declare(Schema& schema);
  bool has_stage(const std::string& objective) const;
};

}  // namespace saber
