// Training: the step, and what surrounds it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/process_group.h"
#include "data/sampling_plan.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/model/saber_model.h"
#include "trainer/objective/objective.h"
#include "trainer/optimiser/adamw.h"
#include "trainer/optimiser/flat_parameters.h"

namespace saber {

struct TrainSettings {
  ObjectiveSettings objective;
  OptimiserSettings optimiser;
  std::vector<std::string> scores;    // train.scores: score trees
  std::int64_t epochs = 0;            // train.epochs
  std::int64_t max_steps = 0;         // train.max_steps: stop after so many steps; 0: all epochs
  std::int64_t batch_size = 0;        // train.batch_size, units of all ranks together
  std::string precision;              // train.precision: float32 | float64
  std::int64_t log_every = 0;         // train.log_every
  std::int64_t checkpoint_every = 0;  // train.checkpoint_every
  std::int64_t keep = 0;              // train.keep_checkpoints

  void declare(Schema& schema);
};

struct StepReport {
  std::int64_t step = 0;            // number of this step, from 1
  std::vector<std::int64_t> units;  // of the global batch
  double loss = 0;                  // mean over the global batch, equal on all ranks
  double gradient_norm = 0;         // before clipping
  double learning_rate = 0;
};

class Trainer {
 public:
  // The model's parameters are moved into one buffer. All references must outlive the trainer.
  Trainer(const TrainSettings& settings, std::uint64_t seed, SaberModel model, const Objective& objective,
          c10d::ProcessGroup& group);

  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // One optimiser step of all ranks together. Collective. Throws on every rank alike when the loss is not finite.
  StepReport step();

  std::int64_t steps_done() const { return steps_done_; }
  std::int64_t total_steps() const { return total_steps_; }
  std::int64_t steps_per_epoch() const { return plan_.batches_per_epoch(); }
  SaberModel& model() { return model_; }
  const FlatParameters& parameters() const { return parameters_; }

  // Everything that continues the run; the tensors are views.
  NamedTensors model_tensors() { return parameters_.named(parameters_.values()); }
  NamedTensors optimiser_tensors() const { return optimiser_.state(); }
  void restore(const Checkpoint& checkpoint);

 private:
  SaberModel model_;
  FlatParameters parameters_;
  AdamW optimiser_;
  OptimiserSettings optimiser_settings_;
  SamplingPlan plan_;
  const Objective& objective_;
  c10d::ProcessGroup& group_;
  std::int64_t total_steps_;
  std::int64_t steps_done_ = 0;
};

}  // namespace saber
