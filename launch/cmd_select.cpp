// saber select: queries in, ordered demonstrations out, one JSON object per line.
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/narrow.h"
#include "core/parse_number.h"
#include "data/chat_messages.h"
#include "launch/commands.h"
#include "launch/load_inputs.h"
#include "launch/run_selector.h"

namespace saber {
namespace {

std::optional<std::int64_t> parse_id(const std::string& text) {
  std::int64_t value = 0;
  return parse_number(text, value) && value >= 0 ? std::optional(value) : std::nullopt;
}

nlohmann::ordered_json selection_json(const EmbeddingSet& queries, std::int64_t row, const EmbeddingSet& library,
                                      const Selection& selection) {
  nlohmann::ordered_json shots = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < selection.rows.size(); ++i) {
    const std::size_t shot = to_index(selection.rows[i]);
    nlohmann::ordered_json item = {{"id", library.id[shot]},
                                   {"log_probability", selection.log_probabilities[i]},
                                   {"query", library.text_query[shot]},
                                   {"result", library.text_result[shot]}};
    if (!library.image_uri.empty()) item["image_uri"] = library.image_uri[shot];
    shots.push_back(std::move(item));
  }
  const auto task = to_index(queries.task[to_index(row)]);
  return {{"id", queries.id[to_index(row)]},
          {"task", queries.tasks.name[task]},
          {"instruction", queries.tasks.instruction[task]},
          {"query", queries.text_query[to_index(row)]},
          {"demonstrations", std::move(shots)}};
}

std::vector<std::int64_t> query_rows(const SelectSettings& select, const EmbeddingSet& queries, bool foreign) {
  if (!foreign) return queries.rows_of(split_of_name(select.split));
  std::vector<std::int64_t> rows(to_index(queries.num_rows));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
  return rows;
}

void require_same_widths(const EmbeddingSet& library, const EmbeddingSet& queries, const std::string& place) {
  if (queries.image_width == library.image_width && queries.text_width == library.text_width) return;
  throw_bad_input(fmt::format("has embeddings of width {} and {}, the library {} and {}", queries.image_width,
                              queries.text_width, library.image_width, library.text_width),
                  place);
}

void write_selections(const SelectSettings& select, const EmbeddingSet& queries, const std::vector<std::int64_t>& rows,
                      const EmbeddingSet& library, const std::vector<Selection>& selections) {
  const PromptStyle style{select.prompts == "multi_turn", select.two_phase};
  std::string lines;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto line = selection_json(queries, rows[i], library, selections[i]);
    if (select.prompts != "none")
      line["messages"] = chat_messages(style, queries, rows[i], library, selections[i].rows);
    lines += line.dump() + "\n";
  }
  const std::filesystem::path output = select.output;
  if (output.has_parent_path()) create_folders(output.parent_path());
  write_file_atomic(output, lines);
}

}  // namespace

void SelectSettings::declare(Schema& schema) {
  schema.text(queries, "select.queries", "",
              "data set of queries, all of whose rows are taken; empty: select.split of data.embeddings");
  schema.choice(split, "select.split", "test", {"train", "validation", "test"}, "queries when select.queries is empty");
  schema.text(output, "select.output", "runs/selections.jsonl", "JSON lines to write");
  schema.integer(options.shots, "select.shots", 4, 1, 1024, "shots", "demonstrations per query");
  schema.integer(options.beam, "select.beam", 1, 1, 64, "", "sequences that are followed at once; 1: greedy");
  schema.flag(options.same_task, "select.same_task", false, "only demonstrations of the query's task, by its name");
  schema.flag(options.distinct_pictures, "select.distinct_pictures", false, "at most one demonstration per picture");
  schema.flag(options.distinct_answers, "select.distinct_answers", false, "at most one demonstration per result");
  schema.texts(exclude, "select.exclude", {}, "ids of library rows that are never chosen", OnResume::may_change,
               "numbers", [](const std::string& text) { return parse_id(text).has_value(); });
  schema.choice(prompts, "select.prompts", "none", {"none", "flat", "multi_turn"},
                "also write each selection as chat messages, in one user message or one turn per demonstration");
  schema.flag(two_phase, "select.two_phase", false, "prompts ask to recognise the task first, then to answer");
}

SelectOptions SelectSettings::all_options() const {
  SelectOptions out = options;
  for (const std::string& text : exclude) out.excluded.push_back(parse_id(text).value());
  return out;
}

int run_select(const CommandContext& context) {
  const MpiSession& session = context.session;
  const Settings& settings = context.settings;
  const torch::Device& device = context.device;
  c10d::ProcessGroup& group = *context.group;
  const SelectSettings& select = settings.select;
  const EmbeddingSet library = load_embedding_set(session, settings.embeddings, settings.model.head == "sharded");
  std::optional<EmbeddingSet> foreign;
  if (!select.queries.empty()) foreign = load_embedding_set(session, select.queries);
  const EmbeddingSet& queries = foreign ? *foreign : library;
  const std::vector<std::int64_t> rows = query_rows(select, queries, foreign.has_value());
  const Features features(library, torch::kFloat32, device), query_features(queries, torch::kFloat32, device);
  const std::filesystem::path checkpoint = agree_on_checkpoint(session, settings.run_folder);
  std::unique_ptr<RunSelector> selector;
  session.on_all([&] {
    require_same_widths(library, queries, select.queries);
    if (rows.empty()) throw_bad_input("has no rows of split " + select.split, settings.embeddings + " /split");
    selector = std::make_unique<RunSelector>(settings, checkpoint, group, library, features, select.all_options());
  });

  const auto start = std::chrono::steady_clock::now();
  const std::vector<Selection> selections = selector->select(session, queries, query_features, rows);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  session.on_root([&]() -> std::string {
    write_selections(select, queries, rows, library, selections);
    spdlog::info("wrote {}: {} queries, {} shots, {:.0f} queries/s, model {}", select.output, rows.size(),
                 select.options.shots, static_cast<double>(rows.size()) / seconds, selector->trained().folder.string());
    return {};
  });
  return 0;
}

}  // namespace saber
