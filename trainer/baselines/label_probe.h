// The label probe: what labels alone give, without any call of the LVLM. Ridge regression from picture embeddings to
// the answers of a task (docs/demo.md).
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "comm/process_group.h"
#include "core/narrow.h"
#include "data/embedding_set.h"

namespace saber {

class LabelProbe {
 public:
  // One regression per task, on the rows of that task in the given splits: targets are one-hot answers, inputs the
  // L2-normalised embeddings and a constant 1; W = (X'X + ridge I)^-1 X'Y in float64. With a group each rank has its
  // share of the set, and the ranks add up X'X and X'Y: collective. Inputs are rounded to multiples of 2^-b, b =
  // floor((53 - bits of the number of rows) / 2), so that every sum is exact: W has the same bits for any order of the
  // rows and any number of shares.
  LabelProbe(const EmbeddingSet& set, double ridge, const std::vector<Split>& splits = {Split::library},
             c10d::ProcessGroup* group = nullptr);

  // Answers of the query's task, the one of largest predicted value (rounded to 1e-9) first; ties go to the answer that
  // sorts first.
  std::vector<std::string> ranked_answers(std::int64_t query_row) const;
  // W of a task, float64 [D_I + 1, answers]; undefined where the task has no rows.
  const torch::Tensor& weights(std::int64_t task) const { return tasks_[to_index(task)].weights; }

 private:
  struct Task {
    std::vector<std::string> answers;  // sorted
    torch::Tensor weights;             // [D_I + 1, answers]
  };

  const EmbeddingSet& set_;
  std::vector<Task> tasks_;
};

}  // namespace saber
