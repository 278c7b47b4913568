// saber train: builds what a run needs, resumes when the run folder holds a checkpoint, and trains to the end.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "core/log.h"
#include "core/narrow.h"
#include "launch/commands.h"
#include "launch/inputs.h"
#include "launch/run_recorder.h"

namespace saber {
namespace {

// The newest checkpoint of the run; refused when it belongs to other settings, data or units.
std::optional<Checkpoint> checkpoint_to_resume(const Settings& settings, const EmbeddingSet& set,
                                               const Objective& objective) {
  std::optional<Checkpoint> found = load_newest_checkpoint(settings.run_folder);
  if (!found) return found;
  settings.schema.require_match(found->config, found->folder.string());
  const auto require_same = [&](const char* what, const std::string& stored, const std::string& now) {
    if (stored == now) return;
    throw_bad_input(fmt::format("was trained on {} with fingerprint {}, now it is {}", what, stored, now),
                    found->folder.string(), "restore the data, or start a new run.dir");
  };
  require_same("a data set", found->state.data_fingerprint, set.fingerprint);
  require_same("score trees", found->state.units_fingerprint, objective.fingerprint());
  return found;
}

void resume(const MpiSession& session, const Settings& settings, const EmbeddingSet& set, const Objective& objective,
            Trainer& trainer) {
  std::string chosen = session.on_root([&]() -> std::string {
    const std::optional<Checkpoint> found = checkpoint_to_resume(settings, set, objective);
    return found ? found->folder.string() : "";
  });
  if (chosen.empty()) return;
  session.on_all([&] { trainer.restore(load_checkpoint(chosen)); });
  if (session.is_root()) spdlog::info("resumed from {}", chosen);
}

}  // namespace

int run_train(const MpiSession& session, const Settings& settings, c10d::ProcessGroup& group) {
  const EmbeddingSet set = load_embedding_set(session, settings.embeddings);
  const std::vector<ScoreTree> trees = load_score_trees(session, settings.train.scores);
  const auto type = settings.train.precision == "float64" ? torch::kFloat64 : torch::kFloat32;
  const Features features(set, type);
  std::unique_ptr<Objective> objective;
  SaberModel model{nullptr};
  session.on_all([&] {
    objective = make_objective(settings.train.objective, set, features, trees, settings.train.scores);
    model = SaberModel(settings.model, features.widths(), narrow<std::uint64_t>(settings.seed));
    model->to(type);
  });
  Trainer trainer(settings.train, narrow<std::uint64_t>(settings.seed), model, *objective, group);
  resume(session, settings, set, *objective, trainer);

  const std::int64_t limit = settings.train.max_steps;
  const std::int64_t last_step = limit > 0 ? std::min(limit, trainer.total_steps()) : trainer.total_steps();
  if (session.is_root()) {
    spdlog::info("train: {} units, {} parameters, {} ranks, steps {} to {}", objective->num_units(),
                 trainer.parameters().num_parameters(), session.world_size(), trainer.steps_done(), last_step);
  }
  RunRecorder recorder(session, settings, trainer, *objective, set, last_step);
  while (trainer.steps_done() < last_step) {
    recorder.record(trainer.step());
    if (trainer.steps_done() % settings.train.checkpoint_every == 0 || trainer.steps_done() == last_step)
      recorder.save();
  }
  return 0;
}

}  // namespace saber
