// Which LVLM scores: `lvlm.kind`.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/config_schema.h"
#include "data/embedding_set.h"
#include "trainer/reward/scorer.h"

namespace saber {

struct ScorerSettings {
  std::string kind;     // lvlm.kind
  std::string weights;  // lvlm.weights, of kind tiny

  // kinds: that this program knows.
  void declare(Schema& schema, std::vector<std::string> kinds);
};

// Makes a scorer for a data set, which outlives it. device: of an LVLM that runs in this process. Throws bad_input when
// the settings or the data set do not suit the LVLM.
using MakeScorer =
    std::function<std::unique_ptr<Scorer>(const ScorerSettings&, const EmbeddingSet& set, const at::Device& device)>;
using ScorerKinds = std::map<std::string, MakeScorer>;  // by lvlm.kind

// tiny: the built-in tiny LVLM.
ScorerKinds built_in_scorers();

}  // namespace saber
