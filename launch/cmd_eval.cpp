// saber eval: SabER beside selections that need no training, by the LVLM's answers.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <span>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/narrow.h"
#include "core/progress.h"
#include "launch/commands.h"
#include "launch/inputs.h"
#include "launch/run_selector.h"
#include "trainer/reward/tiny_lvlm_scorer.h"
#include "trainer/search/asking_baselines.h"

namespace saber {
namespace {

// Rows that are there when eval.also names them, in the order of the table: methods before SabER, marks at the end.
const std::vector<std::string>& also_methods() {
  static const std::vector<std::string> names = {"iqpr", "iq2iq_demo", "iq2iq_saber"};
  return names;
}
const std::vector<std::string>& also_marks() {
  static const std::vector<std::string> names = {"oracle_beam"};
  return names;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_also(const std::string& name) {
  return contains(also_methods(), name) || contains(also_marks(), name);
}

// In the order of the table: SabER just before the oracle.
std::vector<std::string> row_names(const EvalSettings& eval) {
  const std::vector<std::string> plain = eval.baselines ? Baselines::names() : std::vector<std::string>();
  const auto wanted = [&](const std::string& name) { return contains(eval.also, name); };
  std::vector<std::string> names(plain.begin(), plain.empty() ? plain.end() : plain.end() - 1);
  std::copy_if(also_methods().begin(), also_methods().end(), std::back_inserter(names), wanted);
  names.emplace_back("saber");
  if (!plain.empty()) names.push_back(plain.back());
  std::copy_if(also_marks().begin(), also_marks().end(), std::back_inserter(names), wanted);
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

// What is shown for one query, in the order of row_names(); nothing where the LVLM failed while it was asked.
using Shown = std::vector<std::optional<DemonstrationSequence>>;

// What selections are made with, beside data and settings.
struct Selecting {
  const std::vector<Selection>& saber;  // of all queries
  RunSelector& selector;
  const Features& features;
  Scorer& scorer;
  bool is_root;
};

// A row of eval.also: one query after the other.
void show_also(const std::string& name, const EvalSettings& eval, const EmbeddingSet& set, const Baselines& baselines,
               const Selecting& with, const std::vector<std::int64_t>& mine, std::vector<Shown>& out) {
  AskingBaselines asking(set, eval.shots, eval.seed, baselines, with.scorer);
  Progress progress("eval " + name + " (rank 0's share)", "queries", size_of(mine), !with.is_root);
  for (std::size_t i = 0; i < mine.size(); ++i) {
    std::optional<std::vector<std::int64_t>> rows;
    if (name == "iq2iq_saber")
      rows = with.selector.best_order(with.features, {mine[i], baselines.select("iq2iq", std::vector{mine[i]}).at(0)});
    else
      rows = asking.select(name, mine[i]);
    out[i].push_back(rows ? std::optional(DemonstrationSequence{mine[i], *rows}) : std::nullopt);
    progress.add(1);
  }
}

// Of the queries at `positions`, which are this rank's. Where the library is sharded, the ranks choose for all queries
// together.
std::vector<Shown> shown_by_share(const EvalSettings& eval, const EmbeddingSet& set, c10d::ProcessGroup* sharded,
                                  const std::vector<std::int64_t>& rows, const std::vector<std::int64_t>& positions,
                                  const Selecting& with) {
  constexpr std::size_t kQueries = 4096;  // that the ranks choose for at once
  const Baselines baselines(set, eval.shots, eval.seed, sharded);
  std::vector<std::int64_t> mine;
  mine.reserve(positions.size());
  for (const std::int64_t position : positions) mine.push_back(rows[index_of(position)]);
  const std::span<const std::int64_t> queries = sharded == nullptr ? mine : rows;
  std::vector<Shown> out(mine.size());
  for (const std::string& name : row_names(eval)) {
    if (name == "saber") {
      for (std::size_t i = 0; i < mine.size(); ++i)
        out[i].push_back(DemonstrationSequence{mine[i], with.saber[index_of(positions[i])].rows});
      continue;
    }
    if (is_also(name)) {
      show_also(name, eval, set, baselines, with, mine, out);
      continue;
    }
    std::vector<std::vector<std::int64_t>> chosen;
    for (std::size_t begin = 0; begin < queries.size(); begin += kQueries) {
      auto some = baselines.select(name, queries.subspan(begin, std::min(kQueries, queries.size() - begin)));
      chosen.insert(chosen.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
    }
    for (std::size_t i = 0; i < mine.size(); ++i)
      out[i].push_back(DemonstrationSequence{mine[i], chosen[sharded == nullptr ? i : index_of(positions[i])]});
  }
  return out;
}

// Adds every selection of one query, scored in one go.
void evaluate_query(const EmbeddingSet& set, std::int64_t query_index, const Shown& shown, Scorer& scorer,
                    std::vector<Outcome>& outcomes) {
  std::vector<DemonstrationSequence> sequences;
  for (const auto& sequence : shown) {
    if (sequence) sequences.push_back(*sequence);
  }
  const std::vector<std::optional<Score>> scores = scorer.score(sequences);
  std::size_t next = 0;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    Outcome outcome;
    outcome.query_index = query_index;
    outcome.name = static_cast<std::int32_t>(i);
    const std::optional<Score> score = shown[i] ? scores.at(next++) : std::nullopt;
    outcome.failed = score ? 0 : 1;
    if (score) {
      outcome.log_likelihood = score->log_likelihood;
      outcome.correct = score->correct ? 1 : 0;
    }
    outcome.holds_answer = shown[i] && std::any_of(shown[i]->shots.begin(), shown[i]->shots.end(), [&](auto shot) {
                             return set.text_result[index_of(shot)] == set.text_result[index_of(shown[i]->query)];
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
  fmt::print("{:<22}{:>16}{:>20}{:>16}\n", "selection", "accuracy", "log-likelihood", "holds answer");
  for (const auto& row : rows) {
    fmt::print("{:<22}{:>8.3f} ± {:.3f}{:>11.3f} ± {:.3f}{:>16.3f}{}\n", row["name"].get<std::string>(),
               row["accuracy"].get<double>(), row["accuracy_se"].get<double>(), row["log_likelihood"].get<double>(),
               row["log_likelihood_se"].get<double>(), row["holds_answer"].get<double>(),
               row["failed"] == 0 ? "" : fmt::format("  {} failed", row["failed"].get<std::int64_t>()));
  }
}

// Rank 0 shows how far its own share is.
std::vector<Outcome> evaluate_share(const MpiSession& session, const EmbeddingSet& set,
                                    const std::vector<std::int64_t>& positions, const std::vector<Shown>& shown,
                                    Scorer& scorer) {
  std::vector<Outcome> outcomes;
  Progress progress("eval (rank 0's share)", "queries", size_of(positions), !session.is_root());
  for (std::size_t i = 0; i < positions.size(); ++i) {
    evaluate_query(set, positions[i], shown[i], scorer, outcomes);
    progress.add(1);
  }
  return outcomes;
}

nlohmann::ordered_json table_of(const EvalSettings& eval, const EmbeddingSet& set, const TrainedModel& trained,
                                const Scorer& scorer, std::int64_t num_queries,
                                const std::vector<std::vector<Outcome>>& outcomes) {
  return {{"split", eval.split},
          {"queries", num_queries},
          {"shots", eval.shots},
          {"beam", eval.beam},
          {"checkpoint", trained.folder.string()},
          {"step", trained.step},
          {"data_fingerprint", set.fingerprint},
          {"lvlm", scorer.identity()},
          {"rows", summary(row_names(eval), outcomes)}};
}

void check_also(const EvalSettings& eval, bool sharded) {
  if (!eval.also.empty() && sharded) {
    throw_bad_input("asks for " + eval.also.front() + ", which wants the whole library on every rank", "eval.also",
                    "set model.head to replicated for this command");
  }
  if (contains(eval.also, "iq2iq_saber") && eval.shots > RunSelector::kMostOrdered) {
    throw_bad_input(
        fmt::format("asks for iq2iq_saber, which compares all orders of up to {} demonstrations; eval.shots "
                    "is {}",
                    RunSelector::kMostOrdered, eval.shots),
        "eval.also");
  }
}

}  // namespace

void EvalSettings::declare(Schema& schema) {
  schema.text(output, "eval.output", "runs/demo/eval.json", "JSON file to write");
  schema.choice(split, "eval.split", "validation", {"train", "validation", "test"}, "queries; look at test once");
  schema.integer(max_queries, "eval.max_queries", 0, 0, Schema::kAny, "queries", "only the first so many; 0: all");
  schema.integer(shots, "eval.shots", 4, 1, 1024, "shots", "demonstrations per query");
  schema.integer(beam, "eval.beam", 1, 1, 64, "", "sequences that SabER follows at once; 1: greedy");
  schema.integer(seed, "eval.seed", 1, 0, Schema::kAny, "", "seed of the random selections");
  schema.flag(baselines, "eval.baselines", true, "rows of the selections that need no training");
  schema.texts(also, "eval.also", {}, "more rows for the table, which take longer (docs/baselines.md)",
               OnResume::may_change, "one of iqpr, iq2iq_demo, iq2iq_saber, oracle_beam", is_also);
}

int run_eval(const MpiSession& session, const Settings& settings, const torch::Device& device,
             c10d::ProcessGroup& group) {
  const EvalSettings& eval = settings.eval;
  const HeadOptions head = head_options(settings, group);
  const EmbeddingSet set = load_embedding_set(session, settings.embeddings, head.group != nullptr);
  std::vector<std::int64_t> rows = set.rows_of(split_of_name(eval.split));
  if (eval.max_queries > 0 && eval.max_queries < size_of(rows)) rows.resize(index_of(eval.max_queries));
  std::unique_ptr<TinyLvlmScorer> scorer;
  std::unique_ptr<RunSelector> selector;
  const Features features(set, torch::kFloat32, device);
  const std::filesystem::path checkpoint = agree_on_checkpoint(session, settings.run_folder);
  session.on_all([&] {
    if (rows.empty()) throw_bad_input("has no rows of split " + eval.split, settings.embeddings + " /split");
    check_also(eval, head.group != nullptr);
    scorer = std::make_unique<TinyLvlmScorer>(load_tiny_lvlm(settings.lvlm_weights, device), set);
    SelectOptions options;
    options.shots = eval.shots;
    options.beam = eval.beam;
    selector = std::make_unique<RunSelector>(settings, checkpoint, group, set, features, options);
  });

  const std::int64_t world = session.world_size();
  const std::vector<std::int64_t> positions = positions_of_rank(session.rank(), world, size_of(rows));
  const std::vector<Selection> selections = selector->select(session, set, features, rows);
  std::vector<Shown> shown;
  const auto choose = [&] {
    shown = shown_by_share(eval, set, head.group, rows, positions,
                           {selections, *selector, features, *scorer, session.is_root()});
  };
  if (session.is_root()) spdlog::info("eval: SabER has chosen, now the baselines");
  if (head.group == nullptr)
    session.on_all(choose);
  else
    choose();  // the ranks meet on the way
  std::vector<Outcome> outcomes;
  session.on_all([&] { outcomes = evaluate_share(session, set, positions, shown, *scorer); });
  const std::int64_t most = size_of(positions_of_rank(0, world, size_of(rows))) * size_of(row_names(eval));
  const auto all_outcomes = all_gather_values(group, outcomes, most);
  session.on_root([&]() -> std::string {
    const auto table = table_of(eval, set, selector->trained(), *scorer, size_of(rows), all_outcomes);
    const std::filesystem::path output = eval.output;
    if (output.has_parent_path()) create_folders(output.parent_path());
    write_file_atomic(output, table.dump() + "\n");
    print_table(table["rows"]);
    return {};
  });
  return 0;
}

}  // namespace saber
