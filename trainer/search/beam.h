// Beam search for good demonstration sequences, by the LVLM's score of the whole sequence (docs/model.md, The score
// tree).
#pragma once

#include <cstdint>
#include <vector>

#include "data/embedding_set.h"
#include "data/score_tree.h"
#include "trainer/reward/scorer.h"

namespace saber {

// Every sequence that was scored on the way, as nodes of one query: the root (zero-shot), then depth by depth. Of each
// depth the `width` sequences of largest score go on; ties go to the one found first. A sequence that could not be
// scored is a failed node and does not go on. Calls of the scorer: one per depth. Evaluations: 1 + c + width * sum over
// s = 2..shots of (c - s + 1).
QueryNodes beam_search(Scorer& scorer, const EmbeddingSet& set, std::int64_t query_row,
                       const std::vector<std::int64_t>& pool, std::int64_t width, std::int64_t shots);

// One list of demonstrations and its beginnings, scored in one call: a path of nodes from the root, up to the first
// that could not be scored.
QueryNodes score_sequence(Scorer& scorer, const EmbeddingSet& set, const DemonstrationSequence& list);

}  // namespace saber
