// What SabER learns from a score tree: units, how they group into batches, and their loss (docs/model.md, Objectives).
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/config_schema.h"
#include "data/embedding_set.h"
#include "data/score_tree.h"
#include "trainer/model/features.h"

namespace saber {

class Objective {
 public:
  virtual ~Objective() = default;

  virtual std::int64_t num_units() const = 0;
  // Units that may share a batch, for the sampling plan.
  virtual std::vector<std::vector<std::int64_t>> groups() const = 0;
  // Sum of the units' losses (not their mean), with a gradient. At least one unit.
  virtual torch::Tensor loss_sum(SaberModel& model, std::span<const std::int64_t> units) const = 0;
  // Name of a unit in the list of sample ids: "query id/demonstration ids of its prefix or sequence".
  virtual std::string unit_name(std::int64_t unit) const = 0;
  // 32 hex digits over all units: two runs with equal ones learn from the same thing.
  virtual std::string fingerprint() const = 0;
};

struct ObjectiveSettings {
  std::string kind;                // train.objective: listwise | imitate
  double temperature = 0;          // train.temperature, of the rewards in listwise
  double imitate_temperature = 0;  // train.imitate_temperature, 0: the sequences of a query weigh the same

  void declare(Schema& schema);
};

// Reads no files: trees were checked by read_score_tree. Throws bad_input, naming `places[i]`, when a tree belongs to
// another data set, names unknown ids, or holds nothing to learn from. `set` and `features` must outlive the result.
std::unique_ptr<Objective> make_objective(const ObjectiveSettings& settings, const EmbeddingSet& set,
                                          const Features& features, const std::vector<ScoreTree>& trees,
                                          const std::vector<std::string>& places);

}  // namespace saber
