// Orders of one set of demonstrations (docs/baselines.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/demonstration_sequence.h"
#include "trainer/reward/answer_scorer.h"

namespace saber {

using Ordering = std::vector<std::int64_t>;  // rows, in the order in which they are shown

// Every order of `rows`, lexicographic in ascending rows.
std::vector<Ordering> all_orderings(std::vector<std::int64_t> rows);

// DEmO's two stages over probabilities of the answers, one list per order.
// First: the `kept` orders whose answers to a content-free query have the largest entropy, best first; ties go to the
// earlier order.
std::vector<std::size_t> fairest_orderings(std::span<const std::vector<double>> content_free, std::size_t kept);
// Then, of these, the one whose demonstrations raise the probability of its own first answer to the query the most over
// that of a content-free query; ties go to the earlier place in `fairest`. with_query: in the order of `fairest`.
std::size_t most_influential_ordering(std::span<const std::size_t> fairest,
                                      std::span<const std::vector<double>> content_free,
                                      std::span<const std::vector<double>> with_query);

// The order that DEmO shows a query's demonstrations in. At most kMostOrderings are looked at: all, or so many drawn
// from (seed, "order", query id, number). answers: that the LVLM is asked for. Nothing when the LVLM failed on some
// call.
inline constexpr std::size_t kMostOrderings = 100, kFairestKept = 4;  // the authors' values
std::optional<Ordering> influence_ordering(AnswerScorer& scorer, const DemonstrationSequence& sequence,
                                           std::int64_t query_id, std::int64_t seed,
                                           std::span<const std::string> answers);

}  // namespace saber
