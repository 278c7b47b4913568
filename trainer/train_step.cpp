#include "trainer/train_step.h"

#include <fmt/format.h>

#include <cmath>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {

void TrainSettings::declare(Schema& schema) {
  const OnResume fixed = OnResume::must_match;
  objective.declare(schema);
  schema.texts(scores, "train.scores", {"runs/demo/scores.h5"}, "score trees to learn from (saber score)");
  schema.integer(epochs, "train.epochs", 6, 1, Schema::kAny, "epochs", "passes over all units", fixed);
  schema.integer(max_steps, "train.max_steps", 0, 0, Schema::kAny, "steps",
                 "stop after so many steps; 0: after all epochs");
  schema.integer(batch_size, "train.batch_size", 64, 1, Schema::kAny, "units", "global batch, of all ranks together",
                 fixed);
  optimiser.declare(schema);
  schema.choice(precision, "train.precision", "float32", {"float32", "float64"}, "type of weights and arithmetic",
                fixed);
  schema.integer(log_every, "train.log_every", 50, 1, Schema::kAny, "steps", "steps between two lines on the console");
  schema.integer(checkpoint_every, "train.checkpoint_every", 500, 1, Schema::kAny, "steps",
                 "steps between two checkpoints");
  schema.integer(keep, "train.keep_checkpoints", 2, 1, Schema::kAny, "", "newest checkpoints that stay");
}

Trainer::Trainer(const TrainSettings& settings, std::uint64_t seed, SaberModel model, const Objective& objective,
                 c10d::ProcessGroup& group)
    : model_(std::move(model)),
      parameters_(*model_),
      optimiser_(settings.optimiser, parameters_),
      optimiser_settings_(settings.optimiser),
      plan_(objective.groups(), settings.batch_size, seed),
      objective_(objective),
      group_(group),
      total_steps_(settings.epochs * plan_.batches_per_epoch()) {
  broadcast_from_root(group_, parameters_.values());
}

StepReport Trainer::step() {
  StepReport report;
  report.units = plan_.batch(steps_done_);
  const Slice mine = slice_of_rank(size_of(report.units), group_.getRank(), group_.getSize());

  parameters_.zero_gradients();
  if (mine.size() > 0) {
    const auto units = std::span(report.units).subspan(index_of(mine.begin), index_of(mine.size()));
    const torch::Tensor loss = objective_.loss_sum(model_, units) / static_cast<double>(report.units.size());
    loss.backward();
    parameters_.loss().copy_(loss.detach());
  }
  all_reduce_sum(group_, parameters_.gradients_and_loss());
  report.loss = parameters_.loss().item<double>();
  report.gradient_norm = optimiser_.clip_gradients();
  if (!std::isfinite(report.loss) || !std::isfinite(report.gradient_norm)) {
    throw Error(ErrorKind::internal,
                fmt::format("loss {} with gradient norm {}, wanted finite numbers", report.loss, report.gradient_norm),
                fmt::format("step {}", steps_done_ + 1),
                "lower train.learning_rate or train.clip_norm; the last checkpoint is intact");
  }
  report.learning_rate = learning_rate(optimiser_settings_, steps_done_, total_steps_);
  optimiser_.update(steps_done_, report.learning_rate);
  report.step = ++steps_done_;
  return report;
}

void Trainer::restore(const Checkpoint& checkpoint) {
  load_into(model_tensors(), checkpoint.model, (checkpoint.folder / "model.safetensors").string());
  load_into(optimiser_tensors(), checkpoint.optimizer, (checkpoint.folder / "optimizer").string());
  steps_done_ = checkpoint.state.step;
}

}  // namespace saber
