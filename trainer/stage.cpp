#include "trainer/stage.h"

#include <fmt/format.h>

#include <map>

#include "core/error.h"
#include "core/hash.h"
#include "core/narrow.h"
#include "trainer/objective/imitate.h"
#include "trainer/objective/listwise.h"

namespace saber {
namespace {

template <class Kind>
std::shared_ptr<Objective> from_trees(double temperature, const StageInputs& inputs, const char* wanted) {
  auto objective = std::make_shared<Kind>(temperature, inputs.set, inputs.features, inputs.head);
  if (inputs.trees.empty()) throw_bad_input("names no score tree", "train.scores");
  for (std::size_t i = 0; i < inputs.trees.size(); ++i)
    objective->add(TreeReader(inputs.set, inputs.trees[i], inputs.places[i]));
  if (objective->num_units() == 0)
    throw_bad_input(fmt::format("holds no {}", wanted), inputs.places[0], "score more queries");
  return objective;
}

// Sequences that the trees' LVLM scored before are not scored again, if it is the same LVLM.
std::shared_ptr<Objective> from_samples(const TrainSettings& settings, std::uint64_t seed, const StageInputs& inputs) {
  ensure(inputs.scorer != nullptr, "reinforce has a scorer");
  auto objective = std::make_shared<Reinforce>(settings.sampling, inputs.set, inputs.features, *inputs.scorer, seed,
                                               inputs.head, inputs.reward_carrier);
  for (std::size_t i = 0; i < inputs.trees.size(); ++i) {
    const TreeReader reader(inputs.set, inputs.trees[i], inputs.places[i]);
    const ScoreTreeOrigin& origin = inputs.trees[i].origin;
    const bool same = origin.scorer == inputs.scorer->identity() &&
                      origin.prompt_template == inputs.scorer->prompt_template() &&
                      origin.reduction == "log_likelihood";
    if (same) objective->store().add_known(reader, settings.sampling.shots);
  }
  return objective;
}

std::shared_ptr<Objective> make_objective(const std::string& name, const TrainSettings& settings, std::uint64_t seed,
                                          const StageInputs& inputs) {
  if (name == "listwise")
    return from_trees<Listwise>(settings.listwise_temperature, inputs, "node with two scored children");
  if (name == "imitate") return from_trees<Imitate>(settings.imitate_temperature, inputs, "complete scored sequence");
  return from_samples(settings, seed, inputs);
}

}  // namespace

std::vector<Stage> make_stages(const TrainSettings& settings, std::uint64_t seed, const StageInputs& inputs) {
  if (settings.stages.empty()) throw_bad_input("names no stage, wanted at least one", "train.stages");
  std::map<std::string, std::shared_ptr<Objective>> objectives;
  std::vector<Stage> stages;
  std::int64_t first_step = 0;
  for (const std::string& text : settings.stages) {
    const StageLength length = parse_stage(text).value();
    const std::string& name = length.objective;
    if (!objectives.contains(name)) objectives[name] = make_objective(name, settings, seed, inputs);
    const LearningSettings& learning = name == "listwise"  ? settings.listwise
                                       : name == "imitate" ? settings.imitate
                                                           : settings.reinforce;
    SamplingPlan plan(objectives[name]->groups(), learning.batch_size, seed);
    const std::int64_t num_steps = length.epochs ? length.count * plan.batches_per_epoch() : length.count;
    stages.push_back({name, objectives[name], std::move(plan), learning.optimiser, first_step, num_steps});
    first_step += num_steps;
  }
  return stages;
}

std::string fingerprint_of(const std::vector<Stage>& stages) {
  Fingerprint print;
  for (const Stage& stage : stages) print.add_text(stage.objective->fingerprint());
  return print.hex();
}

Reinforce* reinforce_of(const std::vector<Stage>& stages) {
  for (const Stage& stage : stages) {
    if (auto* const found = dynamic_cast<Reinforce*>(stage.objective.get())) return found;
  }
  return nullptr;
}

}  // namespace saber
