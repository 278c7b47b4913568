// saber select: queries in, ordered demonstrations out, one JSON object per line.
#include <fmt/format.h>

#include <optional>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/narrow.h"
#include "launch/commands.h"
#include "launch/inputs.h"
#include "trainer/search/selector.h"

namespace saber {
namespace {

nlohmann::ordered_json selection_json(const EmbeddingSet& queries, std::int64_t row, const EmbeddingSet& library,
                                      const Selection& selection) {
  nlohmann::ordered_json shots = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < selection.rows.size(); ++i) {
    const std::size_t shot = index_of(selection.rows[i]);
    nlohmann::ordered_json item = {{"id", library.id[shot]},
                                   {"log_probability", selection.log_probabilities[i]},
                                   {"query", library.text_query[shot]},
                                   {"result", library.text_result[shot]}};
    if (!library.image_uri.empty()) item["image_uri"] = library.image_uri[shot];
    shots.push_back(std::move(item));
  }
  const auto task = index_of(queries.task[index_of(row)]);
  return {{"id", queries.id[index_of(row)]},
          {"task", queries.tasks.name[task]},
          {"instruction", queries.tasks.instruction[task]},
          {"query", queries.text_query[index_of(row)]},
          {"icds", std::move(shots)}};
}

}  // namespace

void SelectSettings::declare(Schema& schema) {
  schema.text(queries, "select.queries", "",
              "data set of queries, all of whose rows are taken; empty: select.split of data.embeddings");
  schema.choice(split, "select.split", "test", {"train", "validation", "test"}, "queries when select.queries is empty");
  schema.text(output, "select.output", "runs/selections.jsonl", "JSON lines to write");
  schema.integer(shots, "select.shots", 4, 1, 1024, "shots", "demonstrations per query");
}

int run_select(const MpiSession& session, const Settings& settings) {
  session.on_root([&]() -> std::string {
    const EmbeddingSet library = read_embedding_set(settings.embeddings);
    const std::optional<EmbeddingSet> foreign =
        settings.select.queries.empty() ? std::nullopt : std::optional(read_embedding_set(settings.select.queries));
    const EmbeddingSet& queries = foreign ? *foreign : library;
    if (queries.image_width != library.image_width || queries.text_width != library.text_width) {
      throw_bad_input(fmt::format("has embeddings of width {} and {}, the library {} and {}", queries.image_width,
                                  queries.text_width, library.image_width, library.text_width),
                      settings.select.queries);
    }
    std::vector<std::int64_t> rows = queries.rows_of(split_of_name(settings.select.split));
    if (foreign) {
      rows.resize(index_of(queries.num_rows));
      for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
    }
    if (rows.empty()) throw_bad_input("has no rows of split " + settings.select.split, settings.embeddings + " /split");
    const Features features(library, torch::kFloat32), query_features(queries, torch::kFloat32);
    const TrainedModel trained = load_trained_model(settings.run_folder, features.widths());
    Selector selector(trained.model, library, features);
    std::string lines;
    const std::vector<Selection> selections = selector.select(queries, query_features, rows, settings.select.shots);
    for (std::size_t i = 0; i < rows.size(); ++i)
      lines += selection_json(queries, rows[i], library, selections[i]).dump() + "\n";
    const std::filesystem::path output = settings.select.output;
    if (output.has_parent_path()) create_folders(output.parent_path());
    write_file_atomic(output, lines);
    spdlog::info("wrote {}: {} queries, {} shots, model {}", output.string(), rows.size(), settings.select.shots,
                 trained.folder.string());
    return {};
  });
  return 0;
}

}  // namespace saber
