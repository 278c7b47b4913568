#include "trainer/search/selector.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "core/error.h"
#include "core/log.h"
#include "core/narrow.h"

namespace saber {
namespace {

// Queries per forward pass; shorter blocks are padded, so that bits do not depend on it.
constexpr std::int64_t kBlock = 64;
constexpr double kNever = -std::numeric_limits<double>::infinity();

// Items of equal text have equal numbers; `numbers` holds those of the texts.
torch::Tensor numbered(const std::vector<std::string>& texts, std::map<std::string, std::int64_t>& numbers) {
  std::vector<std::int64_t> out;
  for (const std::string& text : texts)
    out.push_back(numbers.emplace(text, static_cast<std::int64_t>(numbers.size())).first->second);
  return rows_tensor(out);
}

const std::string& task_name(const EmbeddingSet& set, std::int64_t row) {
  return set.tasks.name[index_of(set.task[index_of(row)])];
}

// The number of an item is the first item that shows its picture.
torch::Tensor picture_numbers(const Library& library) {
  std::vector<std::int64_t> first;
  for (std::int64_t item = 0; item < library.size(); ++item) {
    const auto same = library.same_picture(library.set(), library.rows()[index_of(item)]);
    first.push_back(same.empty() ? item : same.front());
  }
  return rows_tensor(first);
}

}  // namespace

// `width` sequences per query, best first; query q has rows q * width ... of every tensor.
struct Selector::Beams {
  std::int64_t width;
  torch::Tensor total;     // float64 [n * width], log-probability; minus infinity: there is no such sequence
  torch::Tensor unusable;  // bool [n * width, K]; where the keys are, all else on the CPU
  torch::Tensor items;     // int64 [n * width, chosen so far]
  torch::Tensor log_p;     // float64 [n * width, chosen so far]
};

Selector::Selector(SaberModel model, const EmbeddingSet& library, const Features& features, SelectOptions options)
    : model_(std::move(model)), library_(library), options_(std::move(options)) {
  const torch::NoGradGuard no_grad;
  keys_ = features.fuse(model_, rows_tensor(library_.rows()));
  excluded_ = torch::zeros({library_.size()}, torch::kBool);
  for (const std::int64_t id : options_.excluded) {
    const std::int64_t row = library.row_of_id(id), item = row < 0 ? -1 : library_.item_of(row);
    if (item < 0) throw_bad_input(fmt::format("holds {}, which is no library row's id", id), "select.exclude");
    excluded_[item] = true;
  }
  std::vector<std::string> tasks, answers;
  for (const std::int64_t row : library_.rows()) {
    tasks.push_back(task_name(library, row));
    answers.push_back(library.text_result[index_of(row)]);
  }
  item_task_ = numbered(tasks, task_numbers_);
  if (options_.distinct_pictures) kinds_.push_back(picture_numbers(library_));
  std::map<std::string, std::int64_t> answer_numbers;
  if (options_.distinct_answers) kinds_.push_back(numbered(answers, answer_numbers));
  for (torch::Tensor& kind : kinds_) kind = kind.to(device());
}

std::vector<Selection> Selector::select(const EmbeddingSet& queries, const Features& query_features,
                                        std::span<const std::int64_t> rows) {
  const torch::NoGradGuard no_grad;
  if (options_.shots > model_->settings().max_shots) {
    spdlog::warn("{} shots, but the model has positions for {}: later ones reuse the last", options_.shots,
                 model_->settings().max_shots);
  }
  std::vector<Selection> out;
  for (std::size_t begin = 0; begin < rows.size(); begin += kBlock) {
    select_block(queries, query_features, rows.subspan(begin, std::min<std::size_t>(kBlock, rows.size() - begin)), out);
  }
  return out;
}

torch::Tensor Selector::unusable_at_first(const EmbeddingSet& queries, std::span<const std::int64_t> rows) const {
  torch::Tensor unusable = library_.own_pictures(queries, rows).logical_or_(excluded_);
  if (options_.same_task) {
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(rows.size()); ++i) {
      const auto task = task_numbers_.find(task_name(queries, rows[index_of(i)]));
      unusable[i].logical_or_(item_task_ != (task == task_numbers_.end() ? -1 : task->second));
    }
  }
  // Seen at once, and not after many positions.
  const torch::Tensor too_few = unusable.logical_not().sum(1) < options_.shots;
  if (too_few.any().item<bool>())
    refuse(queries.id[index_of(rows[index_of(too_few.to(torch::kInt64).argmax().item<std::int64_t>())])]);
  return unusable;
}

void Selector::extend(Beams& beams, const torch::Tensor& log_p) const {
  const std::int64_t width = beams.width, n = beams.total.size(0) / width, size = library_.size();
  const std::int64_t best = std::min(width, size);
  // The best of every sequence first: n x width x width candidates stay for the exact comparison below.
  const auto [top_values, top_items] = log_p.topk(best, 1);
  const torch::Tensor values = top_values.cpu(), items = top_items.cpu();
  const torch::Tensor totals = beams.total.unsqueeze(1) + values;
  const auto total = totals.accessor<double, 2>(), value = values.accessor<double, 2>();
  const auto item = items.accessor<std::int64_t, 2>();
  std::vector<std::int64_t> parent, chosen;
  std::vector<double> new_total, new_log_p;
  for (std::int64_t query = 0; query < n; ++query) {
    std::vector<std::pair<std::int64_t, std::int64_t>> order;
    for (std::int64_t b = query * width; b < (query + 1) * width; ++b) {
      for (std::int64_t i = 0; i < best; ++i) order.emplace_back(b, i);
    }
    std::sort(order.begin(), order.end(), [&](const auto& x, const auto& y) {
      const double a = total[x.first][x.second], c = total[y.first][y.second];
      return a != c ? a > c : std::pair(x.first, item[x.first][x.second]) < std::pair(y.first, item[y.first][y.second]);
    });
    for (std::int64_t b = 0; b < width; ++b) {
      const auto [from, i] = order[index_of(b)];
      parent.push_back(from);
      chosen.push_back(item[from][i]);
      new_total.push_back(total[from][i]);
      new_log_p.push_back(value[from][i]);
    }
  }
  const torch::Tensor from = rows_tensor(parent), now = rows_tensor(chosen);
  beams.total = torch::tensor(new_total, torch::kFloat64);
  beams.items = torch::cat({beams.items.index_select(0, from), now.unsqueeze(1)}, 1);
  beams.log_p =
      torch::cat({beams.log_p.index_select(0, from), torch::tensor(new_log_p, torch::kFloat64).unsqueeze(1)}, 1);
  const torch::Tensor items_now = now.to(device());
  beams.unusable = beams.unusable.index_select(0, from.to(device())).scatter(1, items_now.unsqueeze(1), true);
  for (const torch::Tensor& kind : kinds_)
    beams.unusable.logical_or_(kind.unsqueeze(0) == kind.index_select(0, items_now).unsqueeze(1));
}

void Selector::refuse(std::int64_t query_id) const {
  throw_bad_input(fmt::format("{} demonstrations wanted, none such found for query {} among {} library rows",
                              options_.shots, query_id, library_.size()),
                  "select.shots", "ask for fewer, or for fewer constraints, or try a larger select.beam");
}

void Selector::select_block(const EmbeddingSet& queries, const Features& query_features,
                            std::span<const std::int64_t> rows, std::vector<Selection>& out) {
  std::vector<std::int64_t> padded(rows.begin(), rows.end());
  padded.resize(kBlock, rows.front());
  const std::int64_t width = options_.beam;
  const torch::Tensor of_query = torch::arange(kBlock).repeat_interleave(width);
  const QueryState state = model_->read(query_features.queries(padded)).select(of_query.to(device()));
  Beams beams{width, torch::full({kBlock, width}, kNever, torch::kFloat64),
              unusable_at_first(queries, padded).index_select(0, of_query).to(device()),
              torch::empty({kBlock * width, 0}, torch::kInt64), torch::empty({kBlock * width, 0}, torch::kFloat64)};
  beams.total.select(1, 0).zero_();  // one empty sequence per query
  beams.total = beams.total.flatten();
  for (std::int64_t position = 0; position < options_.shots; ++position) {
    const torch::Tensor shots =
        keys_.index_select(0, beams.items.flatten().to(device())).view({kBlock * width, position, keys_.size(1)});
    const torch::Tensor logits = torch::matmul(model_->choose(state, shots).select(1, position), keys_.t());
    // Where nothing is left, log_softmax gives NaN; anywhere else that is the model's fault.
    const torch::Tensor stuck = beams.unusable.all(1, /*keepdim=*/true);
    const torch::Tensor log_p = logits.masked_fill(beams.unusable, kNever).log_softmax(1).masked_fill(stuck, kNever);
    if (log_p.isnan().any().item<bool>()) throw Error(ErrorKind::internal, "the model's logits are no numbers");
    extend(beams, log_p.to(torch::kFloat64));
  }
  const auto total = beams.total.accessor<double, 1>();
  const auto items = beams.items.accessor<std::int64_t, 2>();
  const auto log_p = beams.log_p.accessor<double, 2>();
  for (std::int64_t query = 0; query < static_cast<std::int64_t>(rows.size()); ++query) {
    const std::int64_t best = query * width;
    if (total[best] == kNever) {
      refuse(queries.id[index_of(rows[index_of(query)])]);
    }
    Selection& selection = out.emplace_back();
    for (std::int64_t i = 0; i < options_.shots; ++i) {
      selection.rows.push_back(library_.rows()[index_of(items[best][i])]);
      selection.log_probabilities.push_back(log_p[best][i]);
    }
  }
}

}  // namespace saber
