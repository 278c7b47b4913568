// saber train: builds what a run needs, resumes when the run folder holds a checkpoint, and trains to the end.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <optional>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/narrow.h"
#include "launch/checkpoint_saver.h"
#include "launch/commands.h"
#include "launch/load_inputs.h"
#include "launch/run_recorder.h"

namespace saber {
namespace {

// The newest checkpoint of the run; refused when it belongs to other settings, data or units.
std::optional<Checkpoint> checkpoint_to_resume(const Settings& settings, const EmbeddingSet& set,
                                               const std::vector<Stage>& stages) {
  std::optional<Checkpoint> found = load_newest_checkpoint(settings.run_folder);
  if (!found) return found;
  settings.schema.require_match(found->config, found->folder.string());
  const auto require_same = [&](const char* what, const std::string& stored, const std::string& now) {
    if (stored == now) return;
    throw_bad_input(fmt::format("was trained on {} with fingerprint {}, now it is {}", what, stored, now),
                    found->folder.string(), "restore the data, or start a new run.dir");
  };
  require_same("a data set", found->state.data_fingerprint, set.fingerprint);
  require_same("score trees and an LVLM", found->state.units_fingerprint, fingerprint_of(stages));
  return found;
}

void resume(const MpiSession& session, const Settings& settings, const EmbeddingSet& set, Trainer& trainer) {
  std::optional<Checkpoint> found;  // on rank 0, which has verified and read it
  const std::string chosen = session.on_root([&]() -> std::string {
    found = checkpoint_to_resume(settings, set, trainer.stages());
    return found ? found->folder.string() : "";
  });
  if (chosen.empty()) return;
  verify_on_other_hosts(session, chosen);
  Reinforce* const reinforce = reinforce_of(trainer.stages());
  // Rank 0 reads for all: what the ranks know must be the same. Also rewards of steps after the checkpoint, which are
  // done again: nothing is scored again.
  const std::string samples = session.on_root([&] {
    return reinforce == nullptr ? std::string()
                                : read_file(std::filesystem::path(settings.run_folder) / "samples.jsonl");
  });
  session.on_all([&] {
    trainer.restore(found ? *found : load_checkpoint(chosen, /*verified_before=*/true));
    if (reinforce == nullptr) return;
    for_each_reward(samples,
                    [&](const std::string& name, std::optional<double> reward) { reinforce->add(name, reward); });
  });
  if (session.is_root()) spdlog::info("resumed from {}", chosen);
}

std::filesystem::path own_tree(const Settings& settings) {
  return std::filesystem::path(settings.run_folder) / "scores.h5";
}

// Rank 0 only. A run that reinforces writes a tree of its own at the end.
void require_other_trees(const Settings& settings) {
  for (const std::string& path : settings.train.scores) {
    if (std::filesystem::weakly_canonical(path) != std::filesystem::weakly_canonical(own_tree(settings))) continue;
    throw_bad_input("is the tree that this run writes at its end", path, "move it, or name another run.dir");
  }
}

void write_own_tree(const MpiSession& session, const Settings& settings, const Trainer& trainer) {
  const Reinforce* const reinforce = reinforce_of(trainer.stages());
  if (reinforce == nullptr) return;
  session.on_root([&]() -> std::string {
    const std::filesystem::path path = own_tree(settings);
    const ScoreTree tree = reinforce->tree();
    write_score_tree(path, tree);
    spdlog::info("wrote {}: {} nodes of sequences that this run had scored", path.string(), tree.size());
    return {};
  });
}

// Of the rank that needed most.
void report_memory(const MpiSession& session, c10d::ProcessGroup& group) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::int64_t peak_kib = 0;
  for (const auto& of_rank : all_gather_values(group, std::vector<std::int64_t>{usage.ru_maxrss}, 1))
    peak_kib = std::max(peak_kib, of_rank[0]);
  if (session.is_root()) spdlog::info("done; peak memory {} MiB per rank at most", peak_kib / 1024);
}

void train_to(std::int64_t last_step, const MpiSession& session, const Settings& settings, Trainer& trainer,
              const EmbeddingSet& set) {
  RunRecorder recorder(session, settings, trainer, last_step);
  CheckpointSaver saver(session, settings, trainer, set);
  while (trainer.steps_done() < last_step) {
    recorder.record(trainer.step());
    session.operations().settle();
    if (trainer.steps_done() % settings.train.checkpoint_every == 0 || trainer.steps_done() == last_step)
      saver.save(recorder);
  }
}

}  // namespace

int run_train(const CommandContext& context) {
  const MpiSession& session = context.session;
  const Settings& settings = context.settings;
  const torch::Device& device = context.device;
  c10d::ProcessGroup& group = *context.group;
  session.on_root([&]() -> std::string {
    if (settings.train.has_stage("reinforce")) require_other_trees(settings);
    return {};
  });
  const bool sharded = settings.model.head == "sharded";
  const EmbeddingSet set = load_embedding_set(session, settings.embeddings, sharded);
  const std::vector<ScoreTree> trees = load_score_trees(session, settings.train.scores);
  const auto type = settings.train.precision == "float64" ? torch::kFloat64 : torch::kFloat32;
  const auto seed = narrow<std::uint64_t>(settings.seed);
  const Features features(set, type, device);
  std::unique_ptr<Scorer> scorer;
  std::vector<Stage> stages;
  SaberModel model{nullptr};
  session.on_all([&] {
    if (settings.train.has_stage("reinforce")) scorer = settings.make_scorer(set, device);
    const HeadOptions head = head_options(settings, group);
    stages = make_stages(
        settings.train, seed,
        {set, features, trees, settings.train.scores, scorer.get(), head, carrier_of_rewards(group, settings.comm)});
    model = SaberModel(settings.model, features.widths(), seed);
    model->to(device, type);
  });
  const StepOptions options{settings.train.precision == "bf16", settings.train.micro_batch,
                            settings.train.check_weights_every};
  Trainer trainer(model, std::move(stages), group, options);
  resume(session, settings, set, trainer);

  const std::int64_t limit = settings.train.max_steps;
  const std::int64_t last_step = limit > 0 ? std::min(limit, trainer.total_steps()) : trainer.total_steps();
  if (session.is_root()) {
    spdlog::info("train: {}, {} parameters, {} ranks, steps {} to {}", fmt::join(settings.train.stages, ", then "),
                 trainer.parameters().num_parameters(), session.world_size(), trainer.steps_done(), last_step);
  }
  train_to(last_step, session, settings, trainer, set);
  write_own_tree(session, settings, trainer);
  report_memory(session, group);
  return 0;
}

}  // namespace saber
