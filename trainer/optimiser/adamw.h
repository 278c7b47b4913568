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
  double rate = 1e-3;               // learning_rate
  std::string schedule = "cosine";  // constant | cosine
  std::int64_t warmup_steps = 100;  // warmup_steps
  double weight_decay = 0.05;       // weight_decay
  double clip = 1.0;                // clip_norm, 0: none

  // Keys begin with `prefix` ("train.listwise."); the members hold the defaults.
  void declare(Schema& schema, const std::string& prefix);
};

// Learning rate of step 0, 1, ...: rises linearly over the warm-up; then constant, or a cosine down to 0 at
// `total_steps`.
double learning_rate(const OptimiserSettings& settings, std::int64_t step, std::int64_t total_steps);

// What brings gradients of that L2 norm down to `clip`, 1 where they are smaller; clip 0: no limit.
double clip_scale(double norm, double clip);

class AdamW {
 public:
  explicit AdamW(FlatParameters& parameters);

  AdamW(const AdamW&) = delete;
  AdamW& operator=(const AdamW&) = delete;

  // Forgets both moments.
  void reset();
  // Update number `step` (from 0, since the moments were 0) with the given rate, after the gradients have been
  // multiplied by gradient_scale.
  void update(std::int64_t step, double rate, double weight_decay, double gradient_scale = 1.0);
  // First and second moments under "m." and "v." + parameter name; views, for saving and loading.
  NamedTensors state() const;

 private:
  FlatParameters& parameters_;
  torch::Tensor first_moment_, second_moment_;
};

}  // namespace saber
