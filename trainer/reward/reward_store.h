// Every reward that a run knows, so that no sequence is scored twice; what the run itself had scored becomes its own
// score tree.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "core/hash.h"
#include "data/embedding_set.h"
#include "data/score_tree.h"
#include "data/tree_reader.h"
#include "trainer/reward/scorer.h"

namespace saber {

class RewardStore {
 public:
  // The set must outlive the store.
  explicit RewardStore(const EmbeddingSet& set) : set_(set) {}

  // Takes over the scored sequences of `shots` demonstrations; they are no part of tree().
  void add_known(const TreeReader& reader, std::int64_t shots);
  // A reward that this run had scored; nothing: the LVLM could not score it. A later reward replaces a failure.
  // What is known from elsewhere is left out.
  void add(const DemonstrationSequence& sequence, std::optional<double> reward);

  // Nothing for what was never scored or failed.
  std::optional<double> find(const DemonstrationSequence& sequence) const;

  // Adds what add_known() took over.
  void add_known_to(Fingerprint& print) const;
  std::int64_t num_own() const { return static_cast<std::int64_t>(own_.size()); }
  // All that was given to add(); the sequences' prefixes are nodes of status prefix_only.
  ScoreTree tree(ScoreTreeOrigin origin) const;

 private:
  using Key = std::vector<std::int64_t>;  // row of the query, rows of the demonstrations
  static Key key_of(const DemonstrationSequence& sequence);

  const EmbeddingSet& set_;
  std::map<Key, double> known_, own_;  // NaN in own_: failed
};

}  // namespace saber
