// Reinforce: sequences sampled from SabER, scored by the LVLM; policy gradient with advantages normalised within each
// query's group (docs/model.md, reinforce).
#pragma once

#include "data/embedding_set.h"
#include "trainer/library/library_head.h"
#include "trainer/model/features.h"
#include "trainer/objective/objective.h"
#include "trainer/reward/advantage.h"
#include "trainer/reward/reward_gather.h"

namespace saber {

struct ReinforceSettings {
  std::int64_t group_size = 0;  // train.reinforce.group_size, G
  std::int64_t shots = 0;       // train.reinforce.shots, N
  double leash = 0;             // train.reinforce.leash, beta

  void declare(Schema& schema);
};

class Reinforce : public Objective {
 public:
  // Units are the train queries, by row. References must outlive the objective. reward_carrier: see gather_rewards.
  Reinforce(const ReinforceSettings& settings, const EmbeddingSet& set, const Features& features, Scorer& scorer,
            std::uint64_t seed, const HeadOptions& head = {}, c10::Device reward_carrier = at::kCPU);

  std::int64_t num_units() const override { return static_cast<std::int64_t>(queries_.size()); }
  std::vector<std::vector<std::int64_t>> groups() const override;  // one
  std::string fingerprint() const override;
  std::int64_t samples_per_unit() const override { return settings_.group_size; }
  void begin_stage(SaberModel& model) override;
  // Samples, has scored and gathers. Throws on all ranks alike when not a single sample of the batch has a reward.
  void begin_step(SaberModel& model, std::int64_t step, std::span<const std::int64_t> units,
                  c10d::ProcessGroup& group) override;
  bool collective_loss() const override { return head_.sharded(); }
  torch::Tensor loss_sum(SaberModel& model, std::span<const std::int64_t> samples) const override;
  std::string sample_name(std::int64_t sample) const override;
  nlohmann::ordered_json metrics() const override;
  std::vector<double> rewards() const override { return gathered_.rewards; }
  NamedTensors state() const override;

  RewardStore& store() { return store_; }
  // A reward of an earlier start of this run, by sample_name.
  void add(const std::string& name, std::optional<double> reward);
  ScoreTree tree() const;  // what this run had scored
  // Of the batch begun last, in the order of its samples.
  const std::vector<DemonstrationSequence>& sequences() const { return sequences_; }
  const Advantages& advantages() const { return advantages_; }

 private:
  std::size_t position_of(std::int64_t sample) const;  // in the batch begun last
  std::vector<DemonstrationSequence> sample_all(SaberModel& model, std::int64_t step,
                                                std::span<const std::int64_t> units, c10d::ProcessGroup& group) const;

  ReinforceSettings settings_;
  const EmbeddingSet& set_;
  const Features& features_;
  Scorer& scorer_;
  std::uint64_t seed_;
  Library library_;
  LibraryHead head_;
  std::vector<std::int64_t> queries_;  // rows
  RowsById rows_by_id_;
  RewardStore store_;
  c10::Device reward_carrier_;
  SaberModel start_{nullptr};  // the policy at the start of the stage; with a leash only
  std::vector<std::int64_t> units_;
  std::vector<DemonstrationSequence> sequences_;
  GatheredRewards gathered_;
  Advantages advantages_;
};

}  // namespace saber
