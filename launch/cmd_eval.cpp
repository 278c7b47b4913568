// saber eval: SabER beside other selections, by the LVLM's answers.
#include <functional>
#include <memory>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/narrow.h"
#include "core/progress.h"
#include "launch/commands.h"
#include "launch/eval_table.h"
#include "launch/load_inputs.h"
#include "trainer/reward/request_window.h"

namespace saber {
namespace {

// Everything that is shown for one query is one request. Rank 0 shows how far its own share is.
std::vector<Outcome> evaluate_share(const MpiSession& session, const EmbeddingSet& set,
                                    const std::vector<std::int64_t>& positions, const std::vector<Shown>& shown,
                                    Scorer& scorer) {
  std::vector<Outcome> outcomes;
  Progress progress("eval (rank 0's share)", "queries", size_of(positions), !session.is_root());
  RequestWindow window(scorer);
  for (std::size_t next = 0; next < positions.size() || !window.idle();) {
    if (next < positions.size() && window.has_room()) {
      window.submit({static_cast<std::int64_t>(next), shown_sequences(shown[next]), /*judge=*/true});
      ++next;
      continue;
    }
    const ScoreReply reply = window.wait();
    if (reply.unreachable) throw Error(*reply.unreachable);
    const std::size_t query = to_index(reply.tag);
    add_outcomes(set, positions[query], shown[query], reply.scores, outcomes);
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

void write_table(const EvalSettings& eval, const nlohmann::ordered_json& table) {
  write_file_atomic(eval.output, table.dump() + "\n");
  print_table(table["rows"]);
}

// Before anything is computed.
void make_output_folders(const EvalSettings& eval) {
  const std::filesystem::path output = eval.output;
  if (output.has_parent_path()) create_folders(output.parent_path());
  if (!eval.save_selections.empty()) create_folders(eval.save_selections);
}

std::vector<std::int64_t> rows_to_evaluate(const EvalSettings& eval, const EmbeddingSet& set) {
  std::vector<std::int64_t> rows = set.rows_of(split_of_name(eval.split));
  if (eval.max_queries > 0 && eval.max_queries < size_of(rows)) rows.resize(to_index(eval.max_queries));
  return rows;
}

SelectOptions select_options(const EvalSettings& eval) {
  SelectOptions options;
  options.shots = eval.shots;
  options.beam = eval.beam;
  return options;
}

// table: of the outcomes of all ranks.
void gather_and_write(const MpiSession& session, c10d::ProcessGroup& group, const EvalSettings& eval,
                      const std::vector<Outcome>& outcomes, std::int64_t num_queries,
                      const std::function<nlohmann::ordered_json(const std::vector<std::vector<Outcome>>&)>& table) {
  const std::int64_t most = size_of(positions_of_rank(0, session.world_size(), num_queries)) * size_of(row_names(eval));
  const auto of_ranks = all_gather_values(group, outcomes, most);
  session.on_root([&]() -> std::string {
    write_table(eval, table(of_ranks));
    return {};
  });
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
               OnResume::may_change, "one of iqpr, iq2iq_influence, iq2iq_saber, oracle_beam", is_also);
  schema.texts(
      selections, "eval.selections", {},
      "files of demonstrations that were chosen elsewhere, a row each: JSON lines as `saber select` writes them");
  schema.text(save_selections, "eval.save_selections", "",
              "folder for the demonstrations of every other row, as such files");
}

int run_eval(const CommandContext& context) {
  const MpiSession& session = context.session;
  const Settings& settings = context.settings;
  const torch::Device& device = context.device;
  c10d::ProcessGroup& group = *context.group;
  const EvalSettings& eval = settings.eval;
  const HeadOptions head = head_options(settings, group);
  const EmbeddingSet set = load_embedding_set(session, settings.embeddings, head.group != nullptr);
  const std::vector<std::int64_t> rows = rows_to_evaluate(eval, set);
  std::unique_ptr<Scorer> scorer;
  std::unique_ptr<RunSelector> selector;
  std::map<std::string, RowsByQuery> brought;
  const Features features(set, torch::kFloat32, device);
  const std::filesystem::path checkpoint = agree_on_checkpoint(session, settings.run_folder);
  session.on_all([&] {
    if (rows.empty()) throw_bad_input("has no rows of split " + eval.split, settings.embeddings + " /split");
    require_possible_rows(eval, head.group != nullptr);
    scorer = settings.make_scorer(set, device);
    brought = read_all_selections(eval, set, rows, scorer->max_shots());
    selector = std::make_unique<RunSelector>(settings, checkpoint, group, set, features, select_options(eval));
  });

  session.on_root([&]() -> std::string {
    make_output_folders(eval);
    return {};
  });
  const std::vector<std::int64_t> positions = positions_of_rank(session.rank(), session.world_size(), size_of(rows));
  const std::vector<Selection> selections = selector->select(session, set, features, rows);
  std::vector<Shown> shown;
  const auto choose = [&] {
    shown = shown_by_share(eval, set, head.group, rows, positions,
                           {selections, brought, *selector, features, *scorer, session.is_root()});
  };
  if (session.is_root()) spdlog::info("eval: SabER has chosen, now the baselines");
  if (head.group == nullptr)
    session.on_all(choose);
  else
    choose();  // the ranks meet on the way
  if (!eval.save_selections.empty()) save_selections(session, group, eval, set, rows, positions, shown);
  std::vector<Outcome> outcomes;
  session.on_all([&] { outcomes = evaluate_share(session, set, positions, shown, *scorer); });
  gather_and_write(session, group, eval, outcomes, size_of(rows), [&](const auto& of_ranks) {
    return table_of(eval, set, selector->trained(), *scorer, size_of(rows), of_ranks);
  });
  return 0;
}

}  // namespace saber
