// What rank 0 writes of a training run while it goes on: metrics.jsonl, samples.jsonl, console lines.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "comm/mpi_session.h"
#include "launch/run_folder.h"
#include "launch/settings.h"
#include "trainer/trainer.h"

namespace saber {

// Sums over the steps since the last console line.
struct StepSums {
  std::int64_t steps = 0, asked = 0, failed = 0, flat_groups = 0;
  double loss = 0, reward = 0;

  void add(const nlohmann::ordered_json& metrics);  // a line of metrics.jsonl
};

class RunRecorder {
 public:
  // last_step: where this start of the run will end. All references must outlive the recorder.
  RunRecorder(const MpiSession& session, const Settings& settings, const Trainer& trainer, std::int64_t last_step);

  void record(const StepReport& report);
  // Rank 0 only: all lines so far are on the disk when it returns.
  void sync();

 private:
  void print_line(const StepReport& report);

  const MpiSession& session_;
  const Settings& settings_;
  const Trainer& trainer_;
  std::int64_t last_step_;
  std::optional<StepLog> metrics_, samples_;  // rank 0 only
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_step_end_ = start_, stage_start_ = start_;
  std::int64_t stage_ = -1;          // of the step before
  std::int64_t steps_of_stage_ = 0;  // in this start of the program
  StepSums since_line_;
};

}  // namespace saber
