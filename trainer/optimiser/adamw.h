// AdamW (Loshchilov and Hutter, 2019) on flat parameters, by LibTorch's fused kernel, with clipping and a rate
// schedule.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

#include "core/config_schema.h"
#include "trainer/optimiser/flat_parameters.h"

namespace saber {

struct OptimiserSettings {
  double rate = 0;                // train.learning_rate
  std::string schedule;           // train.schedule: constant | cosine
  std::int64_t warmup_steps = 0;  // train.warmup_steps
  double weight_decay = 0;        // train.weight_decay
  double clip = 0;                // train.clip_norm, 0: none

  void declare(Schema& schema);
};

// Learning rate of step 0, 1, ...: rises linearly over the warm-up; then constant, or a cosine down to 0 at
// `total_steps`.
double learning_rate(const OptimiserSettings& settings, std::int64_t step, std::int64_t total_steps);

class AdamW {
 public:
  AdamW(const OptimiserSettings& settings, FlatParameters& parameters);

  AdamW(const AdamW&) = delete;
  AdamW& operator=(const AdamW&) = delete;

  // Scales the gradients so that their L2 norm is at most clip; returns the norm before.
  double clip_gradients();
  // Update number `step` (from 0) with the given rate.
  void update(std::int64_t step, double rate);
  // First and second moments under "m." and "v." + parameter name; views, for saving and loading.
  NamedTensors state() const;

 private:
  OptimiserSettings settings_;
  FlatParameters& parameters_;
  torch::Tensor first_moment_, second_moment_;
};

}  // namespace saber
