#include "trainer/objective/reinforce.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "core/error.h"
#include "core/hash.h"
#include "core/narrow.h"
#include "core/slice.h"
#include "trainer/objective/sample_name.h"
#include "trainer/search/sample.h"
#include "trainer/search/sequence_probability.h"

namespace saber {

void ReinforceSettings::declare(Schema& schema) {
  const OnResume fixed = OnResume::must_match;
  schema.integer(group_size, "train.reinforce.group_size", 8, 2, 1024, "samples",
                 "sequences G sampled per query and step, whose rewards are compared with each other", fixed);
  schema.integer(shots, "train.reinforce.shots", 4, 1, 64, "shots", "length N of the sequences", fixed);
  schema.real(leash, "train.reinforce.leash", 0, 0, 1e6, "",
              "weight of KL(policy, policy at the start of the stage); 0: none", fixed);
}

Reinforce::Reinforce(const ReinforceSettings& settings, const EmbeddingSet& set, const Features& features,
                     Scorer& scorer, std::uint64_t seed, const HeadOptions& head, c10::Device reward_carrier)
    : settings_(settings),
      set_(set),
      features_(features),
      scorer_(scorer),
      seed_(seed),
      library_(set),
      head_(library_, features, head),
      queries_(set.rows_of(Split::train)),
      rows_by_id_(set),
      store_(set),
      reward_carrier_(reward_carrier) {
  if (queries_.empty()) throw_bad_input("has no train queries, which reinforce learns from", "/split");
  if (set.text_result.empty()) throw_bad_input("is absent, and reinforce scores the queries' answers", "/text/result");
  if (settings.shots > scorer.max_shots()) {
    throw_bad_input(fmt::format("train.reinforce.shots is {}, the LVLM reads at most {} demonstrations", settings.shots,
                                scorer.max_shots()));
  }
  for (const std::int64_t row : queries_) {
    const std::int64_t usable = library_.size() - static_cast<std::int64_t>(library_.same_picture(set, row).size());
    if (usable >= settings.shots) continue;
    throw_bad_input(fmt::format("train.reinforce.shots is {}, the library has {} rows for query {}", settings.shots,
                                usable, set.id[to_index(row)]));
  }
}

std::vector<std::vector<std::int64_t>> Reinforce::groups() const {
  std::vector<std::int64_t> all(queries_.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  return {all};
}

std::string Reinforce::fingerprint() const {
  Fingerprint print;
  print.add_text("reinforce");
  print.add_text(scorer_.identity());
  print.add_text(scorer_.prompt_template());
  print.add_values(std::span<const std::int64_t>(queries_));
  store_.add_known_to(print);
  return print.hex();
}

void Reinforce::begin_stage(SaberModel& model) {
  if (settings_.leash == 0) return;
  const torch::NoGradGuard no_grad;
  start_ = SaberModel(model->settings(), features_.widths(), /*seed=*/0);
  const torch::Tensor like = model->parameters().front();
  start_->to(like.device(), like.scalar_type());
  for (const auto& item : model->named_parameters()) start_->named_parameters()[item.key()].copy_(item.value());
}

NamedTensors Reinforce::state() const {
  NamedTensors out;
  if (start_.is_empty()) return out;
  for (const auto& item : start_->named_parameters()) out["start." + item.key()] = item.value().detach();
  return out;
}

std::vector<DemonstrationSequence> Reinforce::sample_all(SaberModel& model, std::int64_t step,
                                                         std::span<const std::int64_t> units,
                                                         c10d::ProcessGroup& group) const {
  const torch::NoGradGuard no_grad;
  const std::int64_t per_unit = settings_.group_size, total = static_cast<std::int64_t>(units.size()) * per_unit;
  std::vector<Draw> draws;
  for (const std::int64_t unit : units) {
    for (std::int64_t number = 0; number < per_unit; ++number) draws.push_back({queries_[to_index(unit)], number});
  }
  const Slice mine = slice_of_rank(total, group.getRank(), group.getSize());
  std::vector<std::int64_t> items;
  if (mine.size() > 0 || head_.sharded()) {
    const torch::Tensor keys = head_.keys(model);
    const std::vector<Draw> part(draws.begin() + mine.begin, draws.begin() + mine.end);
    const torch::Tensor drawn =
        sample_sequences(model, head_, features_, keys, part, {seed_, step, settings_.shots}).contiguous();
    items.assign(drawn.data_ptr<std::int64_t>(), drawn.data_ptr<std::int64_t>() + drawn.numel());
  }
  std::vector<DemonstrationSequence> sequences;
  for (const auto& of_rank : all_gather_values(group, items, ceil_div(total, group.getSize()) * settings_.shots)) {
    for (std::int64_t begin = 0; begin < size_of(of_rank); begin += settings_.shots) {
      DemonstrationSequence& sequence = sequences.emplace_back();
      sequence.query = draws[sequences.size() - 1].query_row;
      for (std::int64_t i = begin; i < begin + settings_.shots; ++i)
        sequence.shots.push_back(library_.rows()[to_index(of_rank[to_index(i)])]);
    }
  }
  ensure(size_of(sequences) == total, "every sample of the batch was drawn by one rank");
  return sequences;
}

void Reinforce::begin_step(SaberModel& model, std::int64_t step, std::span<const std::int64_t> units,
                           c10d::ProcessGroup& group) {
  units_.assign(units.begin(), units.end());
  sequences_ = sample_all(model, step, units, group);
  gathered_ = gather_rewards(sequences_, scorer_, store_, group, reward_carrier_);
  advantages_ = group_advantages(gathered_.rewards, settings_.group_size);
  if (advantages_.failed == size_of(sequences_)) {
    throw Error(ErrorKind::internal, "the LVLM could not score a single sequence", fmt::format("step {}", step + 1),
                "see the warnings above; the last checkpoint is intact");
  }
}

std::size_t Reinforce::position_of(std::int64_t sample) const {
  const auto found = std::find(units_.begin(), units_.end(), sample / settings_.group_size);
  ensure(found != units_.end(), "a sample belongs to the batch begun last");
  return to_index((found - units_.begin()) * settings_.group_size + sample % settings_.group_size);
}

torch::Tensor Reinforce::loss_sum(SaberModel& model, std::span<const std::int64_t> samples) const {
  std::vector<DemonstrationSequence> chosen;
  torch::Tensor advantage = torch::empty({static_cast<std::int64_t>(samples.size())}, torch::kFloat64);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const std::size_t position = position_of(samples[i]);
    chosen.push_back(sequences_[position]);
    advantage[static_cast<std::int64_t>(i)] = advantages_.values[position];
  }
  const SequencePositions lists(library_, chosen);
  const SoftmaxRows rows = lists.rows();
  const torch::Tensor keys = head_.keys(model), z = lists.read(model, head_, features_, keys);
  torch::Tensor start_z, start_keys;
  if (settings_.leash > 0) {
    const torch::NoGradGuard no_grad;
    SaberModel start = start_;
    start_keys = head_.keys(start);
    start_z = lists.read(start, head_, features_, start_keys);
  }
  const RowLogProbability policy = head_.log_softmax_and_kl(z, keys, rows, start_z, start_keys);
  const torch::Tensor log_p = policy.log_p.view({-1, settings_.shots}).sum(1);
  torch::Tensor loss = -(advantage.to(log_p.options()) * log_p).sum();
  if (settings_.leash > 0) loss = loss + settings_.leash * policy.kl.view({-1, settings_.shots}).mean(1).sum();
  return loss;
}

std::string Reinforce::sample_name(std::int64_t sample) const {
  const DemonstrationSequence& sequence = sequences_[position_of(sample)];
  return name_of_sample(set_, sequence.query, sequence.shots);
}

void Reinforce::add(const std::string& name, std::optional<double> reward) {
  std::istringstream ids(name);
  DemonstrationSequence sequence;
  std::vector<std::int64_t> rows;
  for (std::string id; std::getline(ids, id, '/');) {
    const std::optional<std::int64_t> row = rows_by_id_.find(std::stoll(id));
    ensure(row.has_value(), "a run's samples are rows of its data set");
    rows.push_back(*row);
  }
  sequence.query = rows.at(0);
  sequence.shots.assign(rows.begin() + 1, rows.end());
  store_.add(sequence, reward);
}

nlohmann::ordered_json Reinforce::metrics() const {
  return {{"reward", advantages_.mean_reward},
          {"asked", gathered_.asked},
          {"failed", advantages_.failed},
          {"flat_groups", advantages_.flat_groups}};
}

ScoreTree Reinforce::tree() const {
  ScoreTreeOrigin origin;
  origin.scorer = scorer_.identity();
  origin.prompt_template = scorer_.prompt_template();
  origin.reduction = "log_likelihood";
  origin.data_fingerprint = set_.fingerprint;
  origin.pool = "sampled by reinforce";
  origin.shots = settings_.shots;
  origin.seed = static_cast<std::int64_t>(seed_);
  return store_.tree(std::move(origin));
}

}  // namespace saber
