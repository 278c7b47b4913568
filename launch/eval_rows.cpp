#include "launch/eval_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/narrow.h"
#include "core/progress.h"
#include "trainer/baselines/lvlm_baselines.h"

namespace saber {
namespace {

// Rows that are there when eval.also names them, in the order of the table: methods before SabER, marks at the end.
const std::vector<std::string>& also_methods() {
  static const std::vector<std::string> names = {"iqpr", "iq2iq_influence", "iq2iq_saber"};
  return names;
}
const std::vector<std::string>& also_marks() {
  static const std::vector<std::string> names = {"oracle_beam"};
  return names;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string row_name_of_file(const std::string& path) {
  return std::filesystem::path(path).stem().string();
}

bool is_file(const EvalSettings& eval, const std::string& name) {
  return std::any_of(eval.selections.begin(), eval.selections.end(),
                     [&](const std::string& path) { return row_name_of_file(path) == name; });
}

// A row of eval.also: one query after the other.
void show_also(const std::string& name, const EvalSettings& eval, const EmbeddingSet& set, const Baselines& baselines,
               const EvalInputs& with, const std::vector<std::int64_t>& mine, std::vector<Shown>& out) {
  LvlmBaselines asking(set, eval.shots, eval.seed, baselines, with.scorer);
  Progress progress("eval " + name + " (rank 0's share)", "queries", size_of(mine), !with.is_root);
  for (std::size_t i = 0; i < mine.size(); ++i) {
    std::optional<std::vector<std::int64_t>> rows;
    if (name == "iq2iq_saber")
      rows =
          with.selector.best_ordering(with.features, {mine[i], baselines.select("iq2iq", std::vector{mine[i]}).at(0)});
    else
      rows = asking.select(name, mine[i]);
    out[i].push_back(rows ? std::optional(DemonstrationSequence{mine[i], *rows}) : std::nullopt);
    progress.add(1);
  }
}

}  // namespace

bool is_also(const std::string& name) {
  return contains(also_methods(), name) || contains(also_marks(), name);
}

std::vector<std::string> row_names(const EvalSettings& eval) {
  const std::vector<std::string> plain = eval.baselines ? Baselines::names() : std::vector<std::string>();
  const auto wanted = [&](const std::string& name) { return contains(eval.also, name); };
  std::vector<std::string> names(plain.begin(), plain.empty() ? plain.end() : plain.end() - 1);
  std::copy_if(also_methods().begin(), also_methods().end(), std::back_inserter(names), wanted);
  std::transform(eval.selections.begin(), eval.selections.end(), std::back_inserter(names), row_name_of_file);
  names.emplace_back("saber");
  if (!plain.empty()) names.push_back(plain.back());
  std::copy_if(also_marks().begin(), also_marks().end(), std::back_inserter(names), wanted);
  return names;
}

void require_possible_rows(const EvalSettings& eval, bool sharded) {
  if (!eval.also.empty() && sharded) {
    throw_bad_input("asks for " + eval.also.front() + ", which wants the whole library on every rank", "eval.also",
                    "set model.head to replicated for this command");
  }
  if (contains(eval.also, "iq2iq_saber") && eval.shots > RunSelector::kMostReordered) {
    throw_bad_input(
        fmt::format("asks for iq2iq_saber, which compares all orders of up to {} demonstrations; eval.shots "
                    "is {}",
                    RunSelector::kMostReordered, eval.shots),
        "eval.also");
  }
  std::vector<std::string> names = row_names(eval);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) throw_bad_input("names two rows " + *twice, "eval.selections", "rename the file");
}

std::map<std::string, RowsByQuery> read_all_selections(const EvalSettings& eval, const EmbeddingSet& set,
                                                       const std::vector<std::int64_t>& rows, std::int64_t max_shots) {
  std::map<std::string, RowsByQuery> out;
  for (const std::string& path : eval.selections) {
    RowsByQuery selections = read_selections(path, set);
    for (const std::int64_t row : rows) {
      const auto found = selections.find(row);
      if (found == selections.end())
        throw_bad_input(fmt::format("has no line for query {}", set.id[to_index(row)]), path);
      if (size_of(found->second) > max_shots) {
        throw_bad_input(fmt::format("has {} demonstrations for query {}, the LVLM reads at most {}",
                                    found->second.size(), set.id[to_index(row)], max_shots),
                        path);
      }
    }
    out[row_name_of_file(path)] = std::move(selections);
  }
  return out;
}

std::vector<Shown> shown_by_share(const EvalSettings& eval, const EmbeddingSet& set, c10d::ProcessGroup* sharded,
                                  const std::vector<std::int64_t>& rows, const std::vector<std::int64_t>& positions,
                                  const EvalInputs& with) {
  constexpr std::size_t kQueries = 4096;  // that the ranks choose for at once
  std::optional<Baselines> baselines;     // which learn something first
  if (eval.baselines || !eval.also.empty()) baselines.emplace(set, eval.shots, eval.seed, sharded);
  std::vector<std::int64_t> mine;
  mine.reserve(positions.size());
  for (const std::int64_t position : positions) mine.push_back(rows[to_index(position)]);
  const std::span<const std::int64_t> queries = sharded == nullptr ? mine : rows;
  std::vector<Shown> out(mine.size());
  for (const std::string& name : row_names(eval)) {
    if (name == "saber") {
      for (std::size_t i = 0; i < mine.size(); ++i)
        out[i].push_back(DemonstrationSequence{mine[i], with.saber[to_index(positions[i])].rows});
      continue;
    }
    if (const auto brought = with.brought.find(name); brought != with.brought.end()) {
      for (std::size_t i = 0; i < mine.size(); ++i)
        out[i].push_back(DemonstrationSequence{mine[i], brought->second.at(mine[i])});
      continue;
    }
    if (is_also(name)) {
      show_also(name, eval, set, *baselines, with, mine, out);
      continue;
    }
    std::vector<std::vector<std::int64_t>> chosen;
    for (std::size_t begin = 0; begin < queries.size(); begin += kQueries) {
      auto some = baselines->select(name, queries.subspan(begin, std::min(kQueries, queries.size() - begin)));
      chosen.insert(chosen.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
    }
    for (std::size_t i = 0; i < mine.size(); ++i)
      out[i].push_back(DemonstrationSequence{mine[i], chosen[sharded == nullptr ? i : to_index(positions[i])]});
  }
  return out;
}

void save_selections(const MpiSession& session, c10d::ProcessGroup& group, const EvalSettings& eval,
                     const EmbeddingSet& set, const std::vector<std::int64_t>& rows,
                     const std::vector<std::int64_t>& positions, const std::vector<Shown>& shown) {
  const std::vector<std::string> names = row_names(eval);
  // Of each selection its row of the table, position and length, and what it holds.
  std::vector<std::int64_t> mine;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    for (std::size_t name = 0; name < names.size(); ++name) {
      const auto& selection = shown[i][name];
      if (!selection || is_file(eval, names[name])) continue;
      mine.insert(mine.end(), {static_cast<std::int64_t>(name), positions[i], size_of(selection->shots)});
      mine.insert(mine.end(), selection->shots.begin(), selection->shots.end());
    }
  }
  const std::int64_t most = size_of(positions_of_rank(0, session.world_size(), size_of(rows)));
  const auto of_ranks = all_gather_values(group, mine, most * size_of(names) * (3 + eval.shots));
  session.on_root([&]() -> std::string {
    std::vector<std::map<std::int64_t, std::string>> lines(names.size());  // by position
    for (const std::vector<std::int64_t>& theirs : of_ranks) {
      for (auto next = theirs.begin(); next != theirs.end();) {
        const std::int64_t name = *next++, position = *next++, length = *next++;
        lines[to_index(name)][position] = selection_line(set, rows[to_index(position)], {next, next + length});
        next += length;
      }
    }
    const std::filesystem::path folder = eval.save_selections;
    for (std::size_t name = 0; name < names.size(); ++name) {
      if (is_file(eval, names[name])) continue;
      std::string text;
      for (const auto& [position, line] : lines[name]) text += line;
      write_file_atomic(folder / (names[name] + ".jsonl"), text);
    }
    return {};
  });
}

}  // namespace saber
