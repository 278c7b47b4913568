#include "launch/run_recorder.h"

#include <fmt/format.h>

#include <filesystem>

#include "core/atomic_file.h"
#include "core/log.h"
#include "launch/inputs.h"

namespace saber {

RunRecorder::RunRecorder(const MpiSession& session, const Settings& settings, Trainer& trainer,
                         const Objective& objective, const EmbeddingSet& set, std::int64_t last_step)
    : session_(session), settings_(settings), trainer_(trainer), objective_(objective), last_step_(last_step) {
  state_.data_fingerprint = set.fingerprint;
  state_.units_fingerprint = objective.fingerprint();
  state_.world_size = session.world_size();
  state_.build = build_description();
  session.on_root([&]() -> std::string {
    const std::filesystem::path folder = settings.run_folder;
    create_folders(folder);
    remove_checkpoint_leftovers(folder);
    write_file_atomic(folder / "config.json", settings.schema.values().dump(2) + "\n");
    metrics_.emplace(folder / "metrics.jsonl", trainer.steps_done());
    samples_.emplace(folder / "samples.jsonl", trainer.steps_done());
    return {};
  });
}

void RunRecorder::record(const StepReport& report) {
  if (!session_.is_root()) return;
  std::vector<std::string> names;
  for (const std::int64_t unit : report.units) names.push_back(objective_.unit_name(unit));
  samples_->write({{"step", report.step}, {"samples", names}});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  metrics_->write({{"step", report.step},
                   {"epoch", (report.step - 1) / trainer_.steps_per_epoch()},
                   {"loss", report.loss},
                   {"gradient_norm", report.gradient_norm},
                   {"learning_rate", report.learning_rate},
                   {"seconds", seconds}});
  ++steps_here_;
  ++steps_since_line_;
  loss_since_line_ += report.loss;
  if (report.step % settings_.train.log_every == 0 || report.step == last_step_) print_line(report);
}

void RunRecorder::print_line(const StepReport& report) {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const double rate = static_cast<double>(steps_here_) / seconds;
  spdlog::info(
      "step {} of {}, epoch {}, loss {:.4f}, gradient norm {:.2f}, learning rate {:.1e}, {:.1f} steps/s, {:.0f} s left",
      report.step, last_step_, (report.step - 1) / trainer_.steps_per_epoch() + 1,
      loss_since_line_ / static_cast<double>(steps_since_line_), report.gradient_norm, report.learning_rate, rate,
      static_cast<double>(last_step_ - report.step) / rate);
  steps_since_line_ = 0;
  loss_since_line_ = 0;
}

void RunRecorder::save() {
  session_.on_root([&]() -> std::string {
    metrics_->sync();
    samples_->sync();
    state_.step = trainer_.steps_done();
    Checkpoint checkpoint;
    checkpoint.state = state_;
    checkpoint.config = settings_.schema.values();
    checkpoint.model = trainer_.model_tensors();
    checkpoint.model_metadata = {{"format", "saber-model"}, {"version", "1"}};
    checkpoint.optimizer = trainer_.optimiser_tensors();
    save_checkpoint(settings_.run_folder, checkpoint, settings_.train.keep);
    return {};
  });
}

}  // namespace saber
