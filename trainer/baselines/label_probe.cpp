#include "trainer/baselines/label_probe.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <set>

#include "core/narrow.h"

namespace saber {
namespace {

// Predictions that differ by less are a tie, whatever a processor makes of the last digits.
constexpr double kTie = 1e-9;

torch::Tensor inputs(const EmbeddingSet& set, const std::vector<std::int64_t>& rows) {
  const std::int64_t width = set.image_width;
  torch::Tensor x = torch::ones({size_of(rows), width + 1}, torch::kFloat64);
  double* const to = x.data_ptr<double>();
  for (std::int64_t i = 0; i < size_of(rows); ++i) {
    std::ranges::copy(set.image_of(rows[to_index(i)]), to + i * (width + 1));
  }
  return x;
}

// The finest step 2^-b for which sums of `count` products of two multiples of it, none larger than 1, are exact in
// float64: count * 2^2b <= 2^53.
double step_of_exact_sums(std::int64_t count) {
  const int bits = static_cast<int>(std::bit_width(to_index(count)));
  return std::ldexp(1.0, -((53 - bits) / 2));
}

// [X'X, X'Y], [D_I + 1, D_I + 1 + answers]. step: of all ranks' rows together.
torch::Tensor normal_equations(const EmbeddingSet& set, const std::vector<std::int64_t>& rows,
                               const std::vector<std::string>& answers, double step) {
  const torch::Tensor x = inputs(set, rows).div_(step).round_().mul_(step);
  torch::Tensor y = torch::zeros({size_of(rows), size_of(answers)}, torch::kFloat64);
  for (std::int64_t i = 0; i < size_of(rows); ++i) {
    const auto& answer = set.text_result[to_index(rows[to_index(i)])];
    y[i][std::lower_bound(answers.begin(), answers.end(), answer) - answers.begin()] = 1.0;
  }
  return torch::cat({x.t().matmul(x), x.t().matmul(y)}, 1);
}

// (X'X + ridge I)^-1 X'Y on one thread, so that its bits do not depend on how many threads a rank has.
torch::Tensor solve(const torch::Tensor& equations, double ridge) {
  const std::int64_t size = equations.size(0), answers = equations.size(1) - size;
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  torch::Tensor weights = torch::linalg_solve(equations.narrow(1, 0, size) + ridge * torch::eye(size, torch::kFloat64),
                                              equations.narrow(1, size, answers));
  at::set_num_threads(threads);
  return weights;
}

// One rank of all counts each row: a library row's owner, and rank 0 the rows that every rank holds.
bool counts_here(const EmbeddingSet& set, std::int64_t row, c10d::ProcessGroup* group) {
  if (group == nullptr) return true;
  if (set.split[to_index(row)] == Split::library) return set.holds(row);
  return group->getRank() == 0;
}

}  // namespace

LabelProbe::LabelProbe(const EmbeddingSet& set, double ridge, const std::vector<Split>& splits,
                       c10d::ProcessGroup* group)
    : set_(set) {
  std::vector<std::vector<std::int64_t>> rows_of_task(to_index(set.num_tasks()));
  for (const Split split : splits) {
    for (const std::int64_t row : set.rows_of(split)) rows_of_task[to_index(set.task[to_index(row)])].push_back(row);
  }
  for (std::vector<std::int64_t>& rows : rows_of_task) {
    std::set<std::string> answers;
    for (const std::int64_t row : rows) answers.insert(set.text_result[to_index(row)]);
    Task task{{answers.begin(), answers.end()}, {}};
    if (!rows.empty()) {
      const double step = step_of_exact_sums(size_of(rows));
      std::erase_if(rows, [&](std::int64_t row) { return !counts_here(set, row, group); });
      torch::Tensor sums = normal_equations(set, rows, task.answers, step);
      if (group != nullptr) all_reduce_sum(*group, sums);
      task.weights = solve(sums, ridge);
    }
    tasks_.push_back(std::move(task));
  }
}

std::vector<std::string> LabelProbe::ranked_answers(std::int64_t query_row) const {
  const Task& task = tasks_[to_index(set_.task[to_index(query_row)])];
  if (task.answers.empty()) return {};
  const torch::Tensor predicted = inputs(set_, {query_row}).matmul(task.weights).squeeze(0);
  const torch::Tensor values = predicted.div(kTie).round_().contiguous();
  std::vector<std::size_t> order(task.answers.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return values.data_ptr<double>()[a] > values.data_ptr<double>()[b];
  });
  std::vector<std::string> out;
  for (const std::size_t i : order) out.push_back(task.answers[i]);
  return out;
}

}  // namespace saber
