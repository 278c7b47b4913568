// What SabER learns from: units, how they group into batches, and their loss (docs/model.md, Objectives).
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "comm/process_group.h"
#include "trainer/formats/named_tensors.h"
#include "trainer/model/saber_model.h"

namespace saber {

// A step goes: the sampling plan names the units of the global batch; each unit is samples_per_unit() samples;
// begin_step on all ranks; each rank takes the loss of its slice of the samples.
class Objective {
 public:
  virtual ~Objective() = default;

  virtual std::int64_t num_units() const = 0;
  // Units that may share a batch, for the sampling plan.
  virtual std::vector<std::vector<std::int64_t>> groups() const = 0;
  // 32 hex digits over all units: two runs with equal ones learn from the same thing.
  virtual std::string fingerprint() const = 0;

  // Sample s belongs to unit s / samples_per_unit().
  virtual std::int64_t samples_per_unit() const { return 1; }
  // Before the first step of a stage, and when a run is resumed within one.
  virtual void begin_stage(SaberModel& /*model*/) {}
  // Collective. step: of the run, from 0; units: of the global batch.
  virtual void begin_step(SaberModel& /*model*/, std::int64_t /*step*/, std::span<const std::int64_t> /*units*/,
                          c10d::ProcessGroup& /*group*/) {}
  // Whether loss_sum and its backward pass are collective: then every rank makes both equally often.
  virtual bool collective_loss() const { return false; }
  // Sum of the samples' losses (not their mean), with a gradient. At least one sample, all of the batch begun last.
  virtual torch::Tensor loss_sum(SaberModel& model, std::span<const std::int64_t> samples) const = 0;

  // Name of a sample of the batch begun last: "query id/demonstration ids of its prefix or sequence".
  virtual std::string sample_name(std::int64_t sample) const = 0;
  // Of the batch begun last, for the lines of metrics.jsonl and samples.jsonl; rank 0.
  virtual nlohmann::ordered_json metrics() const { return nlohmann::ordered_json::object(); }
  virtual std::vector<double> rewards() const { return {}; }  // one per sample, or none
  // Tensors that a resumed stage needs, beside model and optimiser; views.
  virtual NamedTensors state() const { return {}; }
};

}  // namespace saber
