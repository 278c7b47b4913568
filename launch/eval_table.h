// The table that `saber eval` makes of the LVLM's answers.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/eval_rows.h"

namespace saber {

// What one selection for one query came to.
struct Outcome {
  double log_likelihood = std::numeric_limits<double>::quiet_NaN();
  std::int64_t query_index = 0;
  std::int32_t name = 0;
  std::uint8_t correct = 0;
  std::uint8_t judged = 0;  // whether `correct` is known
  std::uint8_t failed = 1;
  std::uint8_t holds_answer = 0;  // some demonstration has the query's right answer as its result
};

// What of a query the LVLM has to score, in order: a sequence for each row of the table that shows one.
std::vector<DemonstrationSequence> shown_sequences(const Shown& shown);
// Adds an outcome for each row of the table. scores: of shown_sequences(shown).
void add_outcomes(const EmbeddingSet& set, std::int64_t query_index, const Shown& shown,
                  std::span<const std::optional<Score>> scores, std::vector<Outcome>& outcomes);

// The rows of eval.json, from the outcomes of all ranks. Queries in order whatever rank scored them, so that sums do
// not depend on the number of ranks.
nlohmann::ordered_json summary(const std::vector<std::string>& names,
                               const std::vector<std::vector<Outcome>>& of_ranks);

void print_table(const nlohmann::ordered_json& rows);

}  // namespace saber
