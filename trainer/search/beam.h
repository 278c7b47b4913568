// Searches for good demonstration sequences, by the LVLM's score of the whole sequence (docs/model.md, The score tree).
// A search is a value: it says what it wants scored and takes the scores, so that many can go on at once (advance.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/demonstration_sequence.h"
#include "data/embedding_set.h"
#include "data/score_tree.h"
#include "trainer/reward/scorer.h"

namespace saber {

class SequenceSearch {
 public:
  virtual ~SequenceSearch() = default;

  // Sequences of one query whose scores come next; none: the search is done.
  const std::vector<DemonstrationSequence>& wanted() const { return wanted_; }
  bool done() const { return wanted_.empty(); }
  // One result per wanted sequence, in order; nothing where the LVLM could not score it.
  virtual void take(std::span<const std::optional<Score>> scores) = 0;
  // Every sequence that was scored so far, as nodes of the query: the root (zero-shot), then depth by depth.
  const QueryNodes& nodes() const { return nodes_; }

 protected:
  SequenceSearch(const EmbeddingSet& set, std::int64_t query_row);
  // Appends a node; returns its number.
  std::int64_t add_node(const DemonstrationSequence& sequence, std::int64_t parent, const std::optional<Score>& score);

  const EmbeddingSet& set_;
  std::vector<DemonstrationSequence> wanted_;

 private:
  QueryNodes nodes_;
};

// Of each depth the `width` sequences of largest score go on; ties go to the one found first. A sequence that could not
// be scored is a failed node and does not go on. It wants scores once per depth. Evaluations: 1 + c + width * sum over
// s = 2..shots of (c - s + 1).
class BeamSearch : public SequenceSearch {
 public:
  // pool: rows of the library. The set must outlive the search.
  BeamSearch(const EmbeddingSet& set, std::int64_t query_row, std::vector<std::int64_t> pool, std::int64_t width,
             std::int64_t shots);
  void take(std::span<const std::optional<Score>> scores) override;

 private:
  struct Candidate {
    std::int64_t node = 0;
    double reward = 0;
    std::vector<std::int64_t> shots;
  };
  void extend(const std::vector<Candidate>& beam);

  std::vector<std::int64_t> pool_;
  std::int64_t width_, shots_;
  std::vector<std::int64_t> parents_;  // of the wanted sequences
};

// One sequence and its beginnings, wanted all at once: a path of nodes from the root, up to the first that could not be
// scored.
class PathSearch : public SequenceSearch {
 public:
  PathSearch(const EmbeddingSet& set, const DemonstrationSequence& sequence);
  void take(std::span<const std::optional<Score>> scores) override;
};

}  // namespace saber
