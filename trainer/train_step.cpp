#include "trainer/train_step.h"

#include <fmt/format.h>

#include <cmath>

#include "core/error.h"
#include "core/narrow.h"

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

Trainer::Trainer(SaberModel model, std::vector<Stage> stages, c10d::ProcessGroup& group)
    : model_(std::move(model)),
      parameters_(*model_),
      optimiser_(parameters_),
      stages_(std::move(stages)),
      group_(group) {
  broadcast_from_root(group_, parameters_.values());
}

StepReport Trainer::step() {
  StepReport report;
  report.step = steps_done_ + 1;
  report.stage = stage_of(steps_done_);
  const Stage& stage = stages_[index_of(report.stage)];
  const std::int64_t step = steps_done_ - stage.first_step;
  if (step == 0) {  // every stage starts with an optimiser that remembers nothing
    optimiser_.reset();
    stage.objective->begin_stage(model_);
  }
  report.epoch = step / stage.plan.batches_per_epoch();
  report.units = stage.plan.batch(step);
  report.samples = samples_of(report.units, stage.objective->samples_per_unit());
  stage.objective->begin_step(model_, steps_done_, report.units, group_);
  const Slice mine = slice_of_rank(size_of(report.samples), group_.getRank(), group_.getSize());

  parameters_.zero_gradients();
  if (mine.size() > 0) {
    const auto samples = std::span(report.samples).subspan(index_of(mine.begin), index_of(mine.size()));
    const torch::Tensor loss = stage.objective->loss_sum(model_, samples) / static_cast<double>(report.samples.size());
    loss.backward();
    parameters_.loss().copy_(loss.detach());
  }
  all_reduce_sum(group_, parameters_.gradients_and_loss());
  report.loss = parameters_.loss().item<double>();
  report.gradient_norm = optimiser_.clip_gradients(stage.optimiser.clip);
  require_finite(report);
  report.learning_rate = learning_rate(stage.optimiser, step, stage.num_steps);
  optimiser_.update(step, report.learning_rate, stage.optimiser.weight_decay);
  ++steps_done_;
  return report;
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
  const Stage& stage = stages_[index_of(stage_of(steps_done_))];
  if (steps_done_ > stage.first_step) out.merge(stage.objective->state());
  return out;
}

void Trainer::restore(const Checkpoint& checkpoint) {
  load_into(model_tensors(), checkpoint.model, (checkpoint.folder / "model.safetensors").string());
  steps_done_ = checkpoint.state.step;
  if (steps_done_ < total_steps()) {
    const Stage& stage = stages_[index_of(stage_of(steps_done_))];
    if (steps_done_ > stage.first_step) stage.objective->begin_stage(model_);
  }
  load_into(optimiser_tensors(), checkpoint.optimizer, (checkpoint.folder / "optimizer").string());
}

}  // namespace saber
