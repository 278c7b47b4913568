#include "trainer/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/hash.h"
#include "core/narrow.h"
#include "core/slice.h"
#include "trainer/model/precision.h"

namespace saber {
namespace {

std::vector<std::int64_t> samples_of(const std::vector<std::int64_t>& units, std::int64_t per_unit) {
  std::vector<std::int64_t> samples;
  for (const std::int64_t unit : units) {
    for (std::int64_t i = 0; i < per_unit; ++i) samples.push_back(unit * per_unit + i);
  }
  return samples;
}

void require_finite(const StepReport& report) {
  if (std::isfinite(report.loss) && std::isfinite(report.gradient_norm)) return;
  throw Error(ErrorKind::internal,
              fmt::format("loss {} with gradient norm {}, wanted finite numbers", report.loss, report.gradient_norm),
              fmt::format("step {}", report.step),
              "lower the stage's learning_rate or clip_norm; the last checkpoint is intact");
}

}  // namespace

Trainer::Trainer(SaberModel model, std::vector<Stage> stages, c10d::ProcessGroup& group, StepOptions options)
    : model_(std::move(model)),
      parameters_(*model_, &group),
      optimiser_(parameters_),
      stages_(std::move(stages)),
      group_(group),
      options_(options),
      reduction_(parameters_, group, options.bucket_bytes) {
  broadcast_from_root(group_, parameters_.values());
}

StepReport Trainer::step() {
  StepReport report;
  report.step = steps_done_ + 1;
  report.stage = stage_of(steps_done_);
  const Stage& stage = stages_[to_index(report.stage)];
  const std::int64_t step = steps_done_ - stage.first_step;
  if (step == 0) {  // every stage starts with an optimiser that remembers nothing
    optimiser_.reset();
    stage.objective->begin_stage(model_);
  }
  report.epoch = step / stage.plan.batches_per_epoch();
  report.units = stage.plan.batch(step);
  report.samples = samples_of(report.units, stage.objective->samples_per_unit());
  stage.objective->begin_step(model_, steps_done_, report.units, group_);
  report.gradient_norm = std::sqrt(add_gradients(*stage.objective, report.samples));
  report.loss = parameters_.loss().item<double>();
  require_finite(report);
  report.learning_rate = learning_rate(stage.optimiser, step, stage.num_steps);
  optimiser_.update(step, report.learning_rate, stage.optimiser.weight_decay,
                    clip_scale(report.gradient_norm, stage.optimiser.clip));
  ++steps_done_;
  if (options_.check_weights_every > 0 && steps_done_ % options_.check_weights_every == 0) require_equal_weights();
  return report;
}

// Gradients and loss of the mean over `samples`, the global batch, summed over all ranks; returns the sum of the
// gradients' squares. The last backward overlaps with the reduction.
double Trainer::add_gradients(Objective& objective, const std::vector<std::int64_t>& samples) {
  const std::vector<MicroBatch> micro_batches = my_micro_batches(objective, samples);
  parameters_.drop_gradients();
  if (micro_batches.empty()) reduction_.begin();
  for (const MicroBatch& batch : micro_batches) {
    const torch::Tensor loss = forward(objective, batch);
    parameters_.loss().add_(loss.detach());
    if (&batch == &micro_batches.back()) reduction_.begin();
    loss.backward();
  }
  return reduction_.finish();
}

// This rank's share of the global batch, in parts of at most options_.micro_batch samples.
std::vector<Trainer::MicroBatch> Trainer::my_micro_batches(const Objective& objective,
                                                           std::span<const std::int64_t> samples) const {
  const auto total = static_cast<std::int64_t>(samples.size());
  const Slice mine = slice_of_rank(total, group_.getRank(), group_.getSize());
  const bool together = objective.collective_loss();
  const std::int64_t share = together ? ceil_div(total, std::int64_t{group_.getSize()}) : mine.size();
  const std::int64_t most = options_.micro_batch > 0 ? options_.micro_batch : std::max<std::int64_t>(1, share);
  std::vector<MicroBatch> out;
  for (std::int64_t i = 0; i < ceil_div(share, most); ++i) {
    const std::int64_t begin = mine.begin + i * most, size = std::min(most, mine.end - begin);
    // A rank whose samples are used up computes one that does not count, where the others need its part of the loss.
    if (size > 0)
      out.push_back({samples.subspan(to_index(begin), to_index(size)), 1.0 / static_cast<double>(total)});
    else
      out.push_back({samples.subspan(0, 1), 0.0});
  }
  return out;
}

// What the samples add to the mean loss of the global batch.
torch::Tensor Trainer::forward(const Objective& objective, const MicroBatch& batch) {
  const Bf16Products bf16(options_.bf16, parameters_.values().device().type());
  const torch::Tensor loss = objective.loss_sum(model_, batch.samples);
  const torch::Tensor penalty = model_->penalty_sum(static_cast<std::int64_t>(batch.samples.size()));
  return (penalty.defined() ? loss + penalty : loss) * batch.weight;
}

void Trainer::require_equal_weights() {
  const torch::Tensor values = parameters_.values().cpu();
  const auto bytes = static_cast<std::size_t>(values.numel() * values.element_size());
  const std::uint64_t mine = hash64({static_cast<const char*>(values.data_ptr()), bytes});
  const auto all = all_gather_values(group_, std::vector{mine}, 1);
  for (std::size_t r = 1; r < all.size(); ++r) {
    if (all[r] == all[0]) continue;
    throw Error(ErrorKind::internal, fmt::format("rank {} has other weights than rank 0", r),
                fmt::format("step {}", steps_done_),
                "a fault of memory or network, or ranks of different programs; start again from the last checkpoint");
  }
}

std::int64_t Trainer::stage_of(std::int64_t step) const {
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    if (step < stages_[i].first_step + stages_[i].num_steps) return static_cast<std::int64_t>(i);
  }
  throw Error(ErrorKind::internal, fmt::format("step {} is after the last stage", step));
}

NamedTensors Trainer::optimiser_tensors() const {
  NamedTensors out = optimiser_.state();
  if (steps_done_ == total_steps()) return out;
  const Stage& stage = stages_[to_index(stage_of(steps_done_))];
  if (steps_done_ > stage.first_step) out.merge(stage.objective->state());
  return out;
}

void Trainer::restore(const Checkpoint& checkpoint) {
  load_into(model_tensors(), checkpoint.model, (checkpoint.folder / "model.safetensors").string());
  steps_done_ = checkpoint.state.step;
  if (steps_done_ < total_steps()) {
    const Stage& stage = stages_[to_index(stage_of(steps_done_))];
    if (steps_done_ > stage.first_step) stage.objective->begin_stage(model_);
  }
  load_into(optimiser_tensors(), checkpoint.optimizer, (checkpoint.folder / "optimizer").string());
}

}  // namespace saber
