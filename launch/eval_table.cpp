#include "launch/eval_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

struct Mean {
  double value = 0;
  double standard_error = 0;
};

Mean mean_of(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  for (const double v : values) squares += (v - sum / n) * (v - sum / n);
  return {sum / n, std::sqrt(squares / std::max(1.0, n - 1) / n)};
}

nlohmann::ordered_json summary_row(const std::string& name, std::vector<Outcome> outcomes) {
  std::sort(outcomes.begin(), outcomes.end(),
            [](const Outcome& a, const Outcome& b) { return a.query_index < b.query_index; });
  std::vector<double> correct, log_likelihood, holds;
  nlohmann::ordered_json each_correct = nlohmann::ordered_json::array(), each_log_likelihood = each_correct;
  for (const Outcome& outcome : outcomes) {
    holds.push_back(outcome.holds_answer);
    const bool failed = outcome.failed != 0;
    const bool judged = outcome.judged != 0;
    each_correct.push_back(judged ? nlohmann::ordered_json(outcome.correct) : nlohmann::ordered_json());
    each_log_likelihood.push_back(failed ? nlohmann::ordered_json() : nlohmann::ordered_json(outcome.log_likelihood));
    if (failed) continue;
    if (judged) correct.push_back(outcome.correct);
    log_likelihood.push_back(outcome.log_likelihood);
  }
  if (log_likelihood.empty()) throw Error(ErrorKind::internal, "the LVLM could not score a single query", name);
  // An LVLM that cannot tell whether it answers right has no accuracy: null.
  const Mean accuracy = correct.empty() ? Mean{kUnknown, kUnknown} : mean_of(correct),
             likelihood = mean_of(log_likelihood);
  return {{"name", name},
          {"accuracy", accuracy.value},
          {"accuracy_se", accuracy.standard_error},
          {"log_likelihood", likelihood.value},
          {"log_likelihood_se", likelihood.standard_error},
          {"holds_answer", mean_of(holds).value},
          {"failed", outcomes.size() - log_likelihood.size()},
          {"correct", std::move(each_correct)},
          {"log_likelihoods", std::move(each_log_likelihood)}};
}

}  // namespace

std::vector<DemonstrationSequence> shown_sequences(const Shown& shown) {
  std::vector<DemonstrationSequence> sequences;
  for (const auto& sequence : shown) {
    if (sequence) sequences.push_back(*sequence);
  }
  return sequences;
}

void add_outcomes(const EmbeddingSet& set, std::int64_t query_index, const Shown& shown,
                  std::span<const std::optional<Score>> scores, std::vector<Outcome>& outcomes) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    Outcome outcome;
    outcome.query_index = query_index;
    outcome.name = static_cast<std::int32_t>(i);
    const std::optional<Score> score = shown[i] ? scores[next++] : std::nullopt;
    outcome.failed = score ? 0 : 1;
    if (score) {
      outcome.log_likelihood = score->log_likelihood;
      outcome.judged = score->correct ? 1 : 0;
      outcome.correct = score->correct.value_or(false) ? 1 : 0;
    }
    outcome.holds_answer = shown[i] && std::any_of(shown[i]->shots.begin(), shown[i]->shots.end(), [&](auto shot) {
                             return set.text_result[to_index(shot)] == set.text_result[to_index(shown[i]->query)];
                           });
    outcomes.push_back(outcome);
  }
}

nlohmann::ordered_json summary(const std::vector<std::string>& names,
                               const std::vector<std::vector<Outcome>>& of_ranks) {
  std::vector<std::vector<Outcome>> by_name(names.size());
  for (const auto& outcomes : of_ranks) {
    for (const Outcome& outcome : outcomes) by_name[static_cast<std::size_t>(outcome.name)].push_back(outcome);
  }
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < names.size(); ++i) rows.push_back(summary_row(names[i], std::move(by_name[i])));
  return rows;
}

void print_table(const nlohmann::ordered_json& rows) {
  const auto with_error = [](const nlohmann::ordered_json& row, const std::string& name) {
    const double value = row[name].get<double>();
    return std::isnan(value) ? std::string("unknown")
                             : fmt::format("{:.3f} ± {:.3f}", value, row[name + "_se"].get<double>());
  };
  fmt::print("{:<22}{:>16}{:>20}{:>16}\n", "selection", "accuracy", "log-likelihood", "holds answer");
  for (const auto& row : rows) {
    fmt::print("{:<22}{:>16}{:>19}{:>16.3f}{}\n", row["name"].get<std::string>(), with_error(row, "accuracy"),
               with_error(row, "log_likelihood"), row["holds_answer"].get<double>(),
               row["failed"] == 0 ? "" : fmt::format("  {} failed", row["failed"].get<std::int64_t>()));
  }
}

}  // namespace saber
