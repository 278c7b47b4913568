#include "launch/run_recorder.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/atomic_file.h"
#include "core/log.h"
#include "core/narrow.h"
#include "trainer/checkpoint/checkpoint.h"

namespace saber {

void StepSums::add(const nlohmann::ordered_json& metrics) {
  ++steps;
  loss += metrics.at("loss").get<double>();
  reward += metrics.value("reward", 0.0);
  asked += metrics.value("asked", std::int64_t{0});
  failed += metrics.value("failed", std::int64_t{0});
  flat_groups += metrics.value("flat_groups", std::int64_t{0});
}

RunRecorder::RunRecorder(const MpiSession& session, const Settings& settings, const Trainer& trainer,
                         std::int64_t last_step)
    : session_(session), settings_(settings), trainer_(trainer), last_step_(last_step) {
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
  const Stage& stage = trainer_.stages()[to_index(report.stage)];
  nlohmann::ordered_json names = nlohmann::ordered_json::array();
  for (const std::int64_t sample : report.samples) names.push_back(stage.objective->sample_name(sample));
  nlohmann::ordered_json samples = {{"step", report.step}, {"samples", std::move(names)}};
  const std::vector<double> rewards = stage.objective->rewards();
  if (!rewards.empty()) samples["rewards"] = rewards;  // a failed one, NaN, becomes null
  samples_->write(samples);
  const auto now = std::chrono::steady_clock::now();
  nlohmann::ordered_json metrics = {{"step", report.step},
                                    {"stage", stage.name},
                                    {"epoch", report.epoch},
                                    {"loss", report.loss},
                                    {"gradient_norm", report.gradient_norm},
                                    {"learning_rate", report.learning_rate},
                                    {"seconds", std::chrono::duration<double>(now - start_).count()}};
  metrics.update(stage.objective->metrics());
  metrics_->write(metrics);
  if (report.stage != stage_) {  // its first step in this start began when the one before ended
    stage_ = report.stage;
    stage_start_ = last_step_end_;
    steps_of_stage_ = 0;
  }
  last_step_end_ = now;
  ++steps_of_stage_;
  since_line_.add(metrics);
  if (report.step % settings_.train.log_every == 0 || report.step == last_step_ ||
      report.step == stage.first_step + stage.num_steps)
    print_line(report);
}

void RunRecorder::print_line(const StepReport& report) {
  const Stage& stage = trainer_.stages()[to_index(report.stage)];
  const double seconds = std::chrono::duration<double>(last_step_end_ - stage_start_).count();
  const double rate = static_cast<double>(steps_of_stage_) / seconds;
  const std::int64_t end = std::min(last_step_, stage.first_step + stage.num_steps);
  const StepSums& sums = since_line_;
  const auto steps = static_cast<double>(sums.steps);
  const std::string learned = stage.objective->rewards().empty()
                                  ? fmt::format("loss {:.4f}", sums.loss / steps)
                                  : fmt::format("reward {:.4f}, {} sequences scored, {} failed, {} flat groups",
                                                sums.reward / steps, sums.asked, sums.failed, sums.flat_groups);
  spdlog::info(
      "step {} of {}, {}, {}, gradient norm {:.2f}, learning rate {:.1e}, {:.1f} steps/s, {:.0f} s left in this stage",
      report.step, last_step_, stage.name, learned, report.gradient_norm, report.learning_rate, rate,
      static_cast<double>(end - report.step) / rate);
  since_line_ = {};
}

void RunRecorder::sync() {
  metrics_->sync();
  samples_->sync();
}

}  // namespace saber
