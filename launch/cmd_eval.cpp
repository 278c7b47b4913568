// saber eval: SabER beside selections that need no training, by the LVLM's answers.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/narrow.h"
#include "core/progress.h"
#include "launch/commands.h"
#include "launch/inputs.h"
#include "trainer/reward/tiny_lvlm_scorer.h"
#include "trainer/search/baselines.h"
#include "trainer/search/selector.h"

namespace saber {
namespace {

// In the order of the table: SabER just before the oracle.
std::vector<std::string> row_names() {
  std::vector<std::string> names = Baselines::names();
  names.insert(names.end() - 1, "saber");
  return names;
}

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
void evaluate_query(const EmbeddingSet& set, std::int64_t row, std::int64_t query_index, const Baselines& baselines,
                    const Selection& saber, Scorer& scorer, std::vector<Outcome>& outcomes) {
  const std::vector<std::string> names = row_names();
  std::vector<DemonstrationSequence> sequences;
  for (const std::string& name : names)
    sequences.push_back({row, name == "saber" ? saber.rows : baselines.select(name, row)});
  const std::vector<std::optional<Score>> scores = scorer.score(sequences);
  for (std::size_t i = 0; i < names.size(); ++i) {
    Outcome outcome;
    outcome.query_index = query_index;
    outcome.name = static_cast<std::int32_t>(i);
    outcome.failed = scores[i] ? 0 : 1;
    if (scores[i]) {
      outcome.log_likelihood = scores[i]->log_likelihood;
      outcome.correct = scores[i]->correct ? 1 : 0;
    }
    const auto& shots = sequences[i].shots;
    outcome.holds_answer = std::any_of(shots.begin(), shots.end(), [&](std::int64_t shot) {
      return set.text_result[index_of(shot)] == set.text_result[index_of(row)];
    });
    outcomes.push_back(outcome);
  }
}

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

// Queries in order whatever rank scored them, so that sums do not depend on the number of ranks.
nlohmann::ordered_json summary_row(const std::string& name, std::vector<Outcome> outcomes) {
  std::sort(outcomes.begin(), outcomes.end(),
            [](const Outcome& a, const Outcome& b) { return a.query_index < b.query_index; });
  std::vector<double> correct, log_likelihood, holds;
  nlohmann::ordered_json each_correct = nlohmann::ordered_json::array(), each_log_likelihood = each_correct;
  for (const Outcome& outcome : outcomes) {
    holds.push_back(outcome.holds_answer);
    const bool failed = outcome.failed != 0;
    each_correct.push_back(failed ? nlohmann::ordered_json() : nlohmann::ordered_json(outcome.correct));
    each_log_likelihood.push_back(failed ? nlohmann::ordered_json() : nlohmann::ordered_json(outcome.log_likelihood));
    if (failed) continue;
    correct.push_back(outcome.correct);
    log_likelihood.push_back(outcome.log_likelihood);
  }
  if (correct.empty()) throw Error(ErrorKind::internal, "the LVLM could not score a single query", name);
  const Mean accuracy = mean_of(correct), likelihood = mean_of(log_likelihood);
  return {{"name", name},
          {"accuracy", accuracy.value},
          {"accuracy_se", accuracy.standard_error},
          {"log_likelihood", likelihood.value},
          {"log_likelihood_se", likelihood.standard_error},
          {"holds_answer", mean_of(holds).value},
          {"failed", outcomes.size() - correct.size()},
          {"correct", std::move(each_correct)},
          {"log_likelihoods", std::move(each_log_likelihood)}};
}

nlohmann::ordered_json summary(const std::vector<std::vector<Outcome>>& of_ranks) {
  const std::vector<std::string> names = row_names();
  std::vector<std::vector<Outcome>> by_name(names.size());
  for (const auto& outcomes : of_ranks) {
    for (const Outcome& outcome : outcomes) by_name[static_cast<std::size_t>(outcome.name)].push_back(outcome);
  }
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < names.size(); ++i) rows.push_back(summary_row(names[i], std::move(by_name[i])));
  return rows;
}

void print_table(const nlohmann::ordered_json& rows) {
  fmt::print("{:<22}{:>16}{:>20}{:>16}\n", "selection", "accuracy", "log-likelihood", "holds answer");
  for (const auto& row : rows) {
    fmt::print("{:<22}{:>8.3f} ± {:.3f}{:>11.3f} ± {:.3f}{:>16.3f}{}\n", row["name"].get<std::string>(),
               row["accuracy"].get<double>(), row["accuracy_se"].get<double>(), row["log_likelihood"].get<double>(),
               row["log_likelihood_se"].get<double>(), row["holds_answer"].get<double>(),
               row["failed"] == 0 ? "" : fmt::format("  {} failed", row["failed"].get<std::int64_t>()));
  }
}

constexpr std::int64_t kBlock = 64;

// The blocks of queries that are this rank's. Blocks, not single queries, go round: the selector works in blocks of 64.
std::vector<Outcome> evaluate_share(const MpiSession& session, const EvalSettings& eval, const EmbeddingSet& set,
                                    const Features& features, const std::vector<std::int64_t>& rows, Selector& selector,
                                    Scorer& scorer) {
  const Baselines baselines(set, eval.shots, eval.seed);
  std::vector<Outcome> outcomes;
  Progress progress("eval (all ranks)", "queries", size_of(rows), !session.is_root());
  for (std::int64_t begin = 0, block = 0; begin < size_of(rows); begin += kBlock, ++block) {
    const auto queries = std::span(rows).subspan(index_of(begin), index_of(std::min(kBlock, size_of(rows) - begin)));
    if (block % session.world_size() == session.rank()) {
      const std::vector<Selection> selections = selector.select(set, features, queries);
      for (std::size_t i = 0; i < queries.size(); ++i) {
        evaluate_query(set, queries[i], begin + static_cast<std::int64_t>(i), baselines, selections[i], scorer,
                       outcomes);
      }
    }
    progress.add(static_cast<std::int64_t>(queries.size()));
  }
  return outcomes;
}

}  // namespace

void EvalSettings::declare(Schema& schema) {
  schema.text(output, "eval.output", "runs/demo/eval.json", "JSON file to write");
  schema.choice(split, "eval.split", "validation", {"train", "validation", "test"}, "queries; look at test once");
  schema.integer(max_queries, "eval.max_queries", 0, 0, Schema::kAny, "queries", "only the first so many; 0: all");
  schema.integer(shots, "eval.shots", 4, 1, 1024, "shots", "demonstrations per query");
  schema.integer(beam, "eval.beam", 1, 1, 64, "", "sequences that SabER follows at once; 1: greedy");
  schema.integer(seed, "eval.seed", 1, 0, Schema::kAny, "", "seed of the random selections");
}

int run_eval(const MpiSession& session, const Settings& settings, const torch::Device& device,
             c10d::ProcessGroup& group) {
  const EvalSettings& eval = settings.eval;
  const EmbeddingSet set = load_embedding_set(session, settings.embeddings);
  std::vector<std::int64_t> rows = set.rows_of(split_of_name(eval.split));
  if (eval.max_queries > 0 && eval.max_queries < size_of(rows)) rows.resize(index_of(eval.max_queries));
  std::unique_ptr<TinyLvlmScorer> scorer;
  std::unique_ptr<Selector> selector;
  TrainedModel trained;
  const Features features(set, torch::kFloat32, device);
  session.on_all([&] {
    if (rows.empty()) throw_bad_input("has no rows of split " + eval.split, settings.embeddings + " /split");
    scorer = std::make_unique<TinyLvlmScorer>(load_tiny_lvlm(settings.lvlm_weights, device), set);
    trained = load_trained_model(settings.run_folder, features.widths(), device);
    SelectOptions options;
    options.shots = eval.shots;
    options.beam = eval.beam;
    selector = std::make_unique<Selector>(trained.model, set, features, options);
  });

  std::vector<Outcome> outcomes;
  session.on_all([&] { outcomes = evaluate_share(session, eval, set, features, rows, *selector, *scorer); });
  const std::int64_t blocks = ceil_div(ceil_div(size_of(rows), kBlock), std::int64_t{session.world_size()});
  const auto all_outcomes = all_gather_values(group, outcomes, blocks * kBlock * size_of(row_names()));
  session.on_root([&]() -> std::string {
    const nlohmann::ordered_json table = {{"split", eval.split},
                                          {"queries", rows.size()},
                                          {"shots", eval.shots},
                                          {"beam", eval.beam},
                                          {"checkpoint", trained.folder.string()},
                                          {"step", trained.step},
                                          {"data_fingerprint", set.fingerprint},
                                          {"lvlm", scorer->identity()},
                                          {"rows", summary(all_outcomes)}};
    const std::filesystem::path output = eval.output;
    if (output.has_parent_path()) create_folders(output.parent_path());
    write_file_atomic(output, table.dump() + "\n");
    print_table(table["rows"]);
    return {};
  });
  return 0;
}

}  // namespace saber
