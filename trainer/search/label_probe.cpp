#include "trainer/search/label_probe.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/narrow.h"

namespace saber {
namespace {

torch::Tensor inputs(const EmbeddingSet& set, const std::vector<std::int64_t>& rows) {
  const std::int64_t width = set.image_width;
  torch::Tensor x = torch::ones({size_of(rows), width + 1}, torch::kFloat64);
  double* const to = x.data_ptr<double>();
  for (std::int64_t i = 0; i < size_of(rows); ++i) {
    std::copy_n(set.image.data() + rows[index_of(i)] * width, width, to + i * (width + 1));
  }
  return x;
}

}  // namespace

LabelProbe::LabelProbe(const EmbeddingSet& set, double ridge, const std::vector<Split>& splits) : set_(set) {
  std::vector<std::vector<std::int64_t>> rows_of_task(index_of(set.num_tasks()));
  for (const Split split : splits) {
    for (const std::int64_t row : set.rows_of(split)) rows_of_task[index_of(set.task[index_of(row)])].push_back(row);
  }
  for (const std::vector<std::int64_t>& rows : rows_of_task) {
    std::set<std::string> answers;
    for (const std::int64_t row : rows) answers.insert(set.text_result[index_of(row)]);
    Task task{{answers.begin(), answers.end()}, {}};
    if (!rows.empty()) {
      const torch::Tensor x = inputs(set, rows);
      torch::Tensor y = torch::zeros({size_of(rows), size_of(task.answers)}, torch::kFloat64);
      for (std::int64_t i = 0; i < size_of(rows); ++i) {
        const auto& answer = set.text_result[index_of(rows[index_of(i)])];
        y[i][std::lower_bound(task.answers.begin(), task.answers.end(), answer) - task.answers.begin()] = 1.0;
      }
      task.weights =
          torch::linalg_solve(x.t().matmul(x) + ridge * torch::eye(x.size(1), torch::kFloat64), x.t().matmul(y));
    }
    tasks_.push_back(std::move(task));
  }
}

std::vector<std::string> LabelProbe::ranked_answers(std::int64_t query_row) const {
  const Task& task = tasks_[index_of(set_.task[index_of(query_row)])];
  if (task.answers.empty()) return {};
  const torch::Tensor values = inputs(set_, {query_row}).matmul(task.weights).squeeze(0).contiguous();
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
