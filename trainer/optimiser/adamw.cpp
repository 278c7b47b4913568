#include "trainer/optimiser/adamw.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace saber {
namespace {
constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;
}

void OptimiserSettings::declare(Schema& schema, const std::string& prefix) {
  const OnResume fixed = OnResume::must_match;
  schema.real(rate, prefix + "learning_rate", rate, 0, 10, "", "largest learning rate", fixed);
  schema.choice(schedule, prefix + "schedule", schedule, {"constant", "cosine"}, "learning rate after the warm-up",
                fixed);
  schema.integer(warmup_steps, prefix + "warmup_steps", warmup_steps, 0, Schema::kAny, "steps",
                 "linear warm-up of the learning rate", fixed);
  schema.real(weight_decay, prefix + "weight_decay", weight_decay, 0, 10, "", "decoupled weight decay", fixed);
  schema.real(clip, prefix + "clip_norm", clip, 0, std::numeric_limits<double>::infinity(), "",
              "largest L2 norm of the gradient; 0: no clipping", fixed);
}

double learning_rate(const OptimiserSettings& settings, std::int64_t step, std::int64_t total_steps) {
  if (step < settings.warmup_steps) {
    return settings.rate * static_cast<double>(step + 1) / static_cast<double>(settings.warmup_steps);
  }
  if (settings.schedule == "constant") return settings.rate;
  const auto done = static_cast<double>(step - settings.warmup_steps);
  const auto all = static_cast<double>(std::max<std::int64_t>(1, total_steps - settings.warmup_steps));
  return settings.rate / 2 * (1 + std::cos(std::numbers::pi * std::min(1.0, done / all)));
}

double clip_scale(double norm, double clip) {
  return clip > 0 && norm > clip ? clip / norm : 1.0;
}

AdamW::AdamW(FlatParameters& parameters)
    : parameters_(parameters),
      first_moment_(torch::zeros_like(parameters.values())),
      second_moment_(torch::zeros_like(parameters.values())) {}

void AdamW::reset() {
  first_moment_.zero_();
  second_moment_.zero_();
}

// In parts that stay in the cache between scaling and update: both are limited by memory.
void AdamW::update(std::int64_t step, double rate, double weight_decay, double gradient_scale) {
  const torch::NoGradGuard no_grad;
  constexpr std::int64_t kPart = std::int64_t{1} << 17;
  const torch::Tensor count =
      torch::full({}, static_cast<float>(step + 1), parameters_.values().options().dtype(torch::kFloat32));
  const torch::Tensor all_gradients = parameters_.gradients();
  const std::int64_t size = parameters_.num_parameters();
  const std::int64_t part = gradient_scale == 1.0 || !all_gradients.is_cpu() ? size : kPart;
  for (std::int64_t begin = 0; begin < size; begin += part) {
    const auto part_of = [&](const torch::Tensor& flat) { return flat.narrow(0, begin, std::min(part, size - begin)); };
    torch::Tensor gradients = part_of(all_gradients);
    if (gradient_scale != 1.0) gradients.mul_(gradient_scale);
    at::_fused_adamw_({part_of(parameters_.values())}, {gradients}, {part_of(first_moment_)}, {part_of(second_moment_)},
                      {}, {count}, rate, kBeta1, kBeta2, weight_decay, kEpsilon,
                      /*amsgrad=*/false, /*maximize=*/false);
  }
}

NamedTensors AdamW::state() const {
  NamedTensors out = parameters_.named(first_moment_, "m.");
  out.merge(parameters_.named(second_moment_, "v."));
  return out;
}

}  // namespace saber
