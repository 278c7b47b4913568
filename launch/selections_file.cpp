#include "launch/selections_file.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

std::int64_t whole_number(const nlohmann::json& value, const std::string& place) {
  if (!value.is_number_integer()) throw_bad_input("has an id " + value.dump() + ", wanted a whole number", place);
  return value.get<std::int64_t>();
}

std::int64_t row_of(const RowsById& rows, std::int64_t id, const std::string& place) {
  const std::optional<std::int64_t> row = rows.find(id);
  if (!row) throw_bad_input(fmt::format("names id {}, which the data set does not hold", id), place);
  return *row;
}

}  // namespace

RowsByQuery read_selections(const std::string& path, const EmbeddingSet& set) {
  std::istringstream lines(read_file(path));
  std::string text;
  const RowsById row_of_id(set);
  RowsByQuery selections;
  for (std::int64_t line = 1; std::getline(lines, text); ++line) {
    const std::string place = fmt::format("{} line {}", path, line);
    std::int64_t query = -1;
    std::vector<std::int64_t> ids;
    try {
      const auto json = nlohmann::json::parse(text);
      query = whole_number(json.at("id"), place);
      for (const auto& shot : json.at("demonstrations")) ids.push_back(whole_number(shot.at("id"), place));
    } catch (const nlohmann::json::exception& error) {
      throw_bad_input(fmt::format(R"(is no {{"id": ..., "demonstrations": [{{"id": ...}}, ...]}}: {})", error.what()),
                      place);
    }
    const auto [selection, is_new] = selections.try_emplace(row_of(row_of_id, query, place));
    if (!is_new) throw_bad_input(fmt::format("repeats query {}", query), place);
    for (const std::int64_t id : ids) {
      selection->second.push_back(row_of(row_of_id, id, place));
      if (set.split[to_index(selection->second.back())] != Split::library)
        throw_bad_input(fmt::format("has id {} as a demonstration, which is no library row", id), place);
      if (set.same_picture(selection->second.back(), selection->first))
        throw_bad_input(fmt::format("shows query {} its own picture, as demonstration {}", query, id), place);
    }
  }
  return selections;
}

std::string selection_line(const EmbeddingSet& set, std::int64_t query_row, const std::vector<std::int64_t>& rows) {
  nlohmann::ordered_json demonstrations = nlohmann::ordered_json::array();
  for (const std::int64_t row : rows) demonstrations.push_back({{"id", set.id[to_index(row)]}});
  return nlohmann::ordered_json{{"id", set.id[to_index(query_row)]}, {"demonstrations", std::move(demonstrations)}}
             .dump() +
         "\n";
}

}  // namespace saber
