#include "trainer/objective/objective.h"

#include "core/error.h"
#include "core/narrow.h"
#include "trainer/objective/imitate.h"
#include "trainer/objective/listwise.h"

namespace saber {
namespace {

template <class Kind>
std::unique_ptr<Objective> filled(double temperature, const EmbeddingSet& set, const Features& features,
                                  const std::vector<ScoreTree>& trees, const std::vector<std::string>& places) {
  auto objective = std::make_unique<Kind>(temperature, set, features);
  for (std::size_t i = 0; i < trees.size(); ++i) objective->add(TreeReader(set, trees[i], places[i]));
  return objective;
}

}  // namespace

void ObjectiveSettings::declare(Schema& schema) {
  schema.choice(kind, "train.objective", "listwise", {"listwise", "imitate"},
                "listwise: all scored siblings of the tree; imitate: its best sequences", OnResume::must_match);
  schema.real(temperature, "train.temperature", 0.1, 1e-6, 1e6, "", "listwise learns softmax(reward / temperature)",
              OnResume::must_match);
  schema.real(imitate_temperature, "train.imitate_temperature", 0, 0, 1e6, "",
              "imitate weights a query's sequences by softmax(reward / temperature); 0: equally", OnResume::must_match);
}

std::unique_ptr<Objective> make_objective(const ObjectiveSettings& settings, const EmbeddingSet& set,
                                          const Features& features, const std::vector<ScoreTree>& trees,
                                          const std::vector<std::string>& places) {
  if (trees.empty()) throw_bad_input("names no score tree", "train.scores");
  const bool listwise = settings.kind == "listwise";
  auto objective = listwise ? filled<Listwise>(settings.temperature, set, features, trees, places)
                            : filled<Imitate>(settings.imitate_temperature, set, features, trees, places);
  if (objective->num_units() == 0) {
    throw_bad_input(listwise ? "holds no node with two scored children" : "holds no complete scored sequence",
                    places[0], "score more queries");
  }
  return objective;
}

}  // namespace saber
