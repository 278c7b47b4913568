#include "launch/lists_file.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <unordered_map>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

std::int64_t whole_number(const nlohmann::json& value, const std::string& place) {
  if (!value.is_number_integer()) throw_bad_input("has an id " + value.dump() + ", wanted a whole number", place);
  return value.get<std::int64_t>();
}

using RowOfId = std::unordered_map<std::int64_t, std::int64_t>;

std::int64_t row_of(const RowOfId& rows, std::int64_t id, const std::string& place) {
  const auto row = rows.find(id);
  if (row == rows.end()) throw_bad_input(fmt::format("names id {}, which the data set does not hold", id), place);
  return row->second;
}

}  // namespace

Lists read_lists(const std::string& path, const EmbeddingSet& set) {
  std::istringstream lines(read_file(path));
  std::string text;
  RowOfId row_of_id;
  for (std::int64_t row = 0; row < set.num_rows; ++row) row_of_id.emplace(set.id[index_of(row)], row);
  Lists lists;
  for (std::int64_t line = 1; std::getline(lines, text); ++line) {
    const std::string place = fmt::format("{} line {}", path, line);
    std::int64_t query = -1;
    std::vector<std::int64_t> ids;
    try {
      const auto json = nlohmann::json::parse(text);
      query = whole_number(json.at("id"), place);
      for (const auto& shot : json.at("icds")) ids.push_back(whole_number(shot.at("id"), place));
    } catch (const nlohmann::json::exception& error) {
      throw_bad_input(fmt::format(R"(is no {{"id": ..., "icds": [{{"id": ...}}, ...]}}: {})", error.what()), place);
    }
    const auto [list, is_new] = lists.try_emplace(row_of(row_of_id, query, place));
    if (!is_new) throw_bad_input(fmt::format("repeats query {}", query), place);
    for (const std::int64_t id : ids) {
      list->second.push_back(row_of(row_of_id, id, place));
      if (set.split[index_of(list->second.back())] != Split::library)
        throw_bad_input(fmt::format("has id {} as a demonstration, which is no library row", id), place);
      if (set.same_picture(list->second.back(), list->first))
        throw_bad_input(fmt::format("shows query {} its own picture, as demonstration {}", query, id), place);
    }
  }
  return lists;
}

std::string list_line(const EmbeddingSet& set, std::int64_t query_row, const std::vector<std::int64_t>& rows) {
  nlohmann::ordered_json icds = nlohmann::ordered_json::array();
  for (const std::int64_t row : rows) icds.push_back({{"id", set.id[index_of(row)]}});
  return nlohmann::ordered_json{{"id", set.id[index_of(query_row)]}, {"icds", std::move(icds)}}.dump() + "\n";
}

}  // namespace saber
