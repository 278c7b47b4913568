#include "trainer/search/constraints.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

// Items of equal text have equal numbers; `numbers` holds those of the texts.
torch::Tensor numbered(const std::vector<std::string>& texts, std::map<std::string, std::int64_t>& numbers) {
  std::vector<std::int64_t> out;
  for (const std::string& text : texts) out.push_back(numbers.emplace(text, size_of(numbers)).first->second);
  return rows_tensor(out);
}

const std::string& task_name(const EmbeddingSet& set, std::int64_t row) {
  return set.tasks.name[to_index(set.task[to_index(row)])];
}

// The number of an item is the first item that shows its picture.
torch::Tensor picture_numbers(const Library& library) {
  std::vector<std::int64_t> first;
  for (std::int64_t item = 0; item < library.size(); ++item) {
    const auto same = library.same_picture(library.set(), library.rows()[to_index(item)]);
    first.push_back(same.empty() ? item : same.front());
  }
  return rows_tensor(first);
}

}  // namespace

Constraints::Constraints(const Library& library, Slice shard, const SelectOptions& options)
    : library_(library),
      shard_(shard),
      same_task_(options.same_task),
      excluded_(torch::zeros({shard.size()}, torch::kBool)) {
  if (!options.excluded.empty()) exclude(options.excluded);
  std::vector<std::string> tasks, answers;
  for (const std::int64_t row : library.rows()) {
    tasks.push_back(task_name(library.set(), row));
    answers.push_back(library.set().text_result[to_index(row)]);
  }
  item_task_ = numbered(tasks, task_numbers_).narrow(0, shard.begin, shard.size());
  if (options.distinct_pictures) kinds_.push_back(picture_numbers(library));
  std::map<std::string, std::int64_t> answer_numbers;
  if (options.distinct_answers) kinds_.push_back(numbered(answers, answer_numbers));
}

void Constraints::exclude(const std::vector<std::int64_t>& ids) {
  const RowsById rows(library_.set());
  for (const std::int64_t id : ids) {
    const std::optional<std::int64_t> row = rows.find(id);
    const std::int64_t item = row ? library_.item_of(*row) : -1;
    if (item < 0) throw_bad_input(fmt::format("holds {}, which is no library row's id", id), "select.exclude");
    if (item >= shard_.begin && item < shard_.end) excluded_[item - shard_.begin] = true;
  }
}

torch::Tensor Constraints::unusable_at_first(const EmbeddingSet& queries, std::span<const std::int64_t> rows) const {
  torch::Tensor unusable = library_.own_pictures(queries, rows, shard_).logical_or_(excluded_);
  if (!same_task_) return unusable;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto task = task_numbers_.find(task_name(queries, rows[i]));
    unusable[static_cast<std::int64_t>(i)].logical_or_(item_task_ != (task == task_numbers_.end() ? -1 : task->second));
  }
  return unusable;
}

void Constraints::add_chosen(torch::Tensor& unusable, const torch::Tensor& chosen) const {
  exclude_chosen(unusable, chosen, shard_);
  for (const torch::Tensor& kind : kinds_) {
    const torch::Tensor own = kind.narrow(0, shard_.begin, shard_.size());
    unusable.logical_or_(own.unsqueeze(0) == kind.index_select(0, chosen).unsqueeze(1));
  }
}

}  // namespace saber
