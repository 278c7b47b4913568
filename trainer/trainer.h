// Training: the step, and what surrounds it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/process_group.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/model/saber_model.h"
#include "trainer/optimiser/adamw.h"
#include "trainer/optimiser/flat_parameters.h"
#include "trainer/optimiser/gradient_reduction.h"
#include "trainer/stage.h"

namespace saber {

struct StepReport {
  std::int64_t step = 0;              // number of this step, from 1
  std::int64_t stage = 0;             // row of Trainer::stages()
  std::int64_t epoch = 0;             // of the stage, from 0
  std::vector<std::int64_t> units;    // of the global batch
  std::vector<std::int64_t> samples;  // of the global batch, see Objective
  double loss = 0;                    // mean over the global batch, equal on all ranks
  double gradient_norm = 0;           // before clipping
  double learning_rate = 0;
};

struct StepOptions {
  bool bf16 = false;                         // matrix products in bfloat16
  std::int64_t micro_batch = 0;              // samples of a rank that one backward covers; 0: all
  std::int64_t check_weights_every = 0;      // steps; 0: never
  std::int64_t bucket_bytes = kBucketBytes;  // of the gradient reduction
};

class Trainer {
 public:
  // The model's parameters are moved into one buffer, on the device where they are, over which the group must carry
  // tensors. The group must outlive the trainer.
  Trainer(SaberModel model, std::vector<Stage> stages, c10d::ProcessGroup& group, StepOptions options = {});

  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // One optimiser step of all ranks together. Collective. Throws on every rank alike when the loss is not finite, or
  // when the ranks' weights are no longer the same.
  StepReport step();

  std::int64_t steps_done() const { return steps_done_; }
  std::int64_t total_steps() const { return stages_.back().first_step + stages_.back().num_steps; }
  const std::vector<Stage>& stages() const { return stages_; }
  SaberModel& model() { return model_; }
  const FlatParameters& parameters() const { return parameters_; }

  // Everything that continues the run; the tensors are views.
  NamedTensors model_tensors() { return parameters_.named(parameters_.values()); }
  NamedTensors optimiser_tensors() const;
  void restore(const Checkpoint& checkpoint);

 private:
  std::int64_t stage_of(std::int64_t step) const;
  struct MicroBatch {
    std::span<const std::int64_t> samples;
    double weight = 0;  // of each sample in the loss
  };
  double add_gradients(Objective& objective, const std::vector<std::int64_t>& samples);
  std::vector<MicroBatch> my_micro_batches(const Objective& objective, std::span<const std::int64_t> samples) const;
  torch::Tensor forward(const Objective& objective, const MicroBatch& batch);
  void require_equal_weights();

  SaberModel model_;
  FlatParameters parameters_;
  AdamW optimiser_;
  std::vector<Stage> stages_;
  c10d::ProcessGroup& group_;
  StepOptions options_;
  GradientReduction reduction_;
  std::int64_t steps_done_ = 0;
};

}  // namespace saber
