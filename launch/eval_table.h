// The table that `saber eval` makes of the LVLM's answers.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
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
  std::uint8_t failed = 1;
  std::uint8_t holds_answer = 0;  // some demonstration has the query's right answer as its result
  std::uint8_t padding = 0;
};

// Adds every selection of one query, scored in one go.
void evaluate_query(const EmbeddingSet& set, std::int64_t query_index, const Shown& shown, Scorer& scorer,
                    std::vector<Outcome>& outcomes);

// The rows of eval.json, from the outcomes of all ranks. Queries in order whatever rank scored them, so that sums do
// not depend on the number of ranks.
nlohmann::ordered_json summary(const std::vector<std::string>& names,
                               const std::vector<std::vector<Outcome>>& of_ranks);

void print_table(const nlohmann::ordered_json& rows);

}  // namespace saber
