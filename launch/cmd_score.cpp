// saber score: the score tree of a query split, distributed over ranks and restartable.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <set>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/fail_point.h"
#include "core/log.h"
#include "core/narrow.h"
#include "core/progress.h"
#include "data/score_journal.h"
#include "launch/commands.h"
#include "launch/load_inputs.h"
#include "trainer/baselines/baselines.h"
#include "trainer/library/library.h"
#include "trainer/search/advance.h"
#include "trainer/search/pool.h"

namespace saber {
namespace {

namespace fs = std::filesystem;

std::vector<std::int64_t> rows_to_score(const ScoreSettings& settings, const EmbeddingSet& set) {
  std::vector<std::int64_t> rows = set.rows_of(split_of_name(settings.split));
  if (rows.empty()) throw_bad_input("has no rows of split " + settings.split, "/split");
  if (settings.max_queries > 0 && settings.max_queries < size_of(rows)) rows.resize(to_index(settings.max_queries));
  return rows;
}

// Found before anything starts, and not by one rank in the middle of its work.
void require_pools(const ScoreSettings& settings, const EmbeddingSet& set, const std::vector<std::int64_t>& rows) {
  const bool beam = settings.sequences == "beam";  // a single sequence needs as many rows as it has
  if (beam && settings.pool.size < settings.shots) {
    throw_bad_input(
        fmt::format("score.pool_size is {}, wanted at least score.shots = {}", settings.pool.size, settings.shots));
  }
  const Library library(set);
  for (const std::int64_t row : rows) {
    const std::int64_t usable = library.size() - size_of(library.same_picture(set, row));
    const std::int64_t wanted = beam ? settings.pool.size : settings.shots;
    if (usable < wanted) {
      throw_bad_input(fmt::format("score.{} is {}, the library has {} rows for query {}", beam ? "pool_size" : "shots",
                                  wanted, usable, set.id[to_index(row)]));
    }
  }
}

ScoreTreeOrigin origin_of(const ScoreSettings& settings, const EmbeddingSet& set, const Scorer& scorer) {
  ScoreTreeOrigin origin;
  origin.scorer = scorer.identity();
  origin.prompt_template = scorer.prompt_template();
  origin.reduction = "log_likelihood";
  origin.data_fingerprint = set.fingerprint;
  origin.pool =
      settings.pool.kind == "mixed" ? fmt::format("mixed, nearest {}", settings.pool.nearest) : settings.pool.kind;
  origin.shots = settings.shots;
  origin.beam = settings.beam;
  origin.pool_size = settings.pool.size;
  origin.seed = settings.pool.seed;
  if (settings.sequences != "beam") {
    origin.pool = "the list of " + settings.sequences;
    origin.beam = 1;
    origin.pool_size = settings.shots;
  }
  return origin;
}

// True when the output is already the wanted tree; refuses to replace another one.
bool is_done(const ScoreSettings& settings, const ScoreTreeOrigin& origin, const std::vector<std::int64_t>& ids) {
  if (!fs::exists(settings.output)) return false;
  const ScoreTree tree = read_score_tree(settings.output);
  const std::set<std::int64_t> scored(tree.query.begin(), tree.query.end());
  if (tree.origin == origin && scored == std::set<std::int64_t>(ids.begin(), ids.end())) return true;
  throw_bad_input("exists and was made from other settings, data, LVLM or queries", settings.output,
                  "remove it, or name another file in score.output");
}

// What one start of the command still has to do, agreed by all ranks.
struct Plan {
  bool done = false;
  std::int64_t attempt = 0;
  std::vector<std::int64_t> rows;  // queries without a journal record
};

fs::path journal_folder(const ScoreSettings& settings) {
  return settings.output + ".journal";
}

Plan make_plan(const ScoreSettings& settings, const EmbeddingSet& set, const ScoreTreeOrigin& origin,
               const std::vector<std::int64_t>& rows) {
  Plan plan;
  std::vector<std::int64_t> ids;
  for (const std::int64_t row : rows) ids.push_back(set.id[to_index(row)]);
  plan.done = is_done(settings, origin, ids);
  if (plan.done) {
    fs::remove_all(journal_folder(settings));  // a kill between the tree and this left them
    return plan;
  }
  const JournalContents journals = read_journals(journal_folder(settings), origin);
  plan.attempt = journals.next_attempt;
  std::set<std::int64_t> scored;
  for (const QueryNodes& nodes : journals.queries) scored.insert(nodes.query);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!scored.contains(ids[i])) plan.rows.push_back(rows[i]);
  }
  create_folders(journal_folder(settings));
  return plan;
}

Plan agree_on_plan(const MpiSession& session, const std::function<Plan()>& make) {
  const std::string agreed = session.on_root([&] {
    const Plan plan = make();
    return nlohmann::json{{"done", plan.done}, {"attempt", plan.attempt}, {"rows", plan.rows}}.dump();
  });
  const auto json = nlohmann::json::parse(agreed);
  return {json.at("done"), json.at("attempt"), json.at("rows")};
}

// Every rank its own queries.
void score_share(const MpiSession& session, const ScoreSettings& score, const EmbeddingSet& set, const Plan& plan,
                 Scorer& scorer, ScoreJournal& journal) {
  const Similarity similarity(set);
  std::optional<Baselines> baselines;
  if (score.sequences != "beam") baselines.emplace(set, score.shots, score.pool.seed);
  std::int64_t next = session.rank();
  const auto open = [&]() -> std::unique_ptr<SequenceSearch> {
    if (next >= size_of(plan.rows)) return nullptr;
    const std::int64_t row = plan.rows[to_index(next)];
    next += session.world_size();
    if (baselines) {
      const DemonstrationSequence sequence{row, baselines->select(score.sequences, std::vector{row})[0]};
      return std::make_unique<PathSearch>(set, sequence);
    }
    return std::make_unique<BeamSearch>(set, row, candidate_pool(score.pool, set, similarity, row), score.beam,
                                        score.shots);
  };
  const std::int64_t mine = (size_of(plan.rows) - session.rank() + session.world_size() - 1) / session.world_size();
  Progress progress("score (rank 0's share)", "queries", mine, !session.is_root());
  std::int64_t evaluations = 0;
  advance_together(scorer, open, [&](const QueryNodes& nodes) {
    journal.append(nodes);
    evaluations += nodes.size();
    progress.add(1, fmt::format("{:.0f} evaluations/s",
                                static_cast<double>(evaluations * session.world_size()) / progress.seconds()));
  });
  journal.sync();
}

void write_tree(const ScoreSettings& settings, const EmbeddingSet& set, const ScoreTreeOrigin& origin,
                const std::vector<std::int64_t>& rows) {
  std::set<std::int64_t> wanted;
  for (const std::int64_t row : rows) wanted.insert(set.id[to_index(row)]);
  std::vector<QueryNodes> queries = read_journals(journal_folder(settings), origin).queries;
  std::erase_if(queries, [&](const QueryNodes& nodes) { return !wanted.contains(nodes.query); });
  ensure(queries.size() == wanted.size(), "every query has a journal record when the tree is written");
  const ScoreTree tree = build_score_tree(origin, std::move(queries));
  write_score_tree(settings.output, tree);
  fail_point("score:tree-written");
  fs::remove_all(journal_folder(settings));  // only now: the tree is on the disk
  spdlog::info("wrote {}: {} queries, {} scored sequences", settings.output, wanted.size(), tree.size());
}

}  // namespace

void ScoreSettings::declare(Schema& schema) {
  schema.text(output, "score.output", "runs/demo/scores.h5", "score tree to write; it does not depend on run.dir");
  schema.choice(split, "score.split", "train", {"train", "validation", "test"}, "queries to score");
  schema.integer(max_queries, "score.max_queries", 0, 0, Schema::kAny, "queries", "only the first so many; 0: all");
  schema.integer(shots, "score.shots", 4, 1, 64, "shots", "length N of the longest sequences");
  schema.choice(
      sequences, "score.sequences", "beam", {"beam", "random", "i2i", "iq2iq"},
      "what is scored: a beam search among the candidates; or the one sequence that this baseline selects, as in eval");
  schema.integer(beam, "score.beam", 4, 1, 1024, "", "width b of the beam");
  schema.choice(pool.kind, "score.pool", "mixed", {"random", "similarity", "mixed"},
                "candidates of a query: random; the most similar; half of them from the score.nearest most similar");
  schema.integer(pool.size, "score.pool_size", 32, 2, 1 << 20, "rows", "candidates c per query");
  schema.integer(pool.nearest, "score.nearest", 300, 1, Schema::kAny, "rows",
                 "most similar rows that a mixed pool draws half from");
  schema.integer(pool.seed, "score.seed", 1, 0, Schema::kAny, "",
                 "seed of the candidate pools, and of random selections");
}

int run_score(const CommandContext& context) {
  const MpiSession& session = context.session;
  const Settings& settings = context.settings;
  const torch::Device& device = context.device;
  const ScoreSettings& score = settings.score;
  if (session.is_root() && settings.model.head == "sharded")
    spdlog::info("model.head: sharded is not for score, every rank holds the whole library");
  const EmbeddingSet set = load_embedding_set(session, settings.embeddings);
  std::vector<std::int64_t> rows;
  std::unique_ptr<Scorer> scorer;
  session.on_all([&] {
    rows = rows_to_score(score, set);
    require_pools(score, set, rows);
    scorer = settings.make_scorer(set, device);
    if (score.shots > scorer->max_shots()) {
      throw_bad_input(
          fmt::format("score.shots is {}, the LVLM reads at most {} demonstrations", score.shots, scorer->max_shots()));
    }
  });
  const ScoreTreeOrigin origin = origin_of(score, set, *scorer);
  const Plan plan = agree_on_plan(session, [&] { return make_plan(score, set, origin, rows); });
  if (plan.done) {
    if (session.is_root()) spdlog::info("{} is complete, nothing to do", score.output);
    return 0;
  }
  if (session.is_root() && plan.rows.size() < rows.size()) {
    spdlog::info("{} of {} queries are in the journals already", rows.size() - plan.rows.size(), rows.size());
  }

  ScoreJournal journal(journal_folder(score), plan.attempt, session.rank(), origin);
  score_share(session, score, set, plan, *scorer, journal);
  session.barrier();
  session.on_root([&]() -> std::string {
    write_tree(score, set, origin, rows);
    return {};
  });
  return 0;
}

}  // namespace saber
