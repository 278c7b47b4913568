#include "trainer/reward/scorer_kinds.h"

#include <utility>

#include "trainer/reward/tiny_lvlm_scorer.h"

namespace saber {

void ScorerSettings::declare(Schema& schema, std::vector<std::string> kinds) {
  schema.choice(kind, "lvlm.kind", "tiny", std::move(kinds), "the LVLM that scores; tiny: the built-in one");
  schema.text(weights, "lvlm.weights", "configs/tiny-lvlm.safetensors", "weights of the built-in tiny LVLM");
}

ScorerKinds built_in_scorers() {
  return {{"tiny", [](const ScorerSettings& settings, const EmbeddingSet& set, const at::Device& device) {
             return std::make_unique<TinyLvlmScorer>(load_tiny_lvlm(settings.weights, device), set);
           }}};
}

}  // namespace saber
