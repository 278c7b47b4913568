// Relevance gate and task-aware mask of one layer (docs/model.md, eq. 8 and 9).
#pragma once

#include <torch/torch.h>

#include "trainer/model/model_settings.h"

namespace saber {

// Cosines between the fused embeddings of query and demonstrations, e [batch, n, d] -> [batch, n, n].
torch::Tensor pairwise_cosine(const torch::Tensor& e);

// How far each sequence's attention would be from a uniform one by its mask alone: KL(softmax(M_i) || uniform) over the
// columns 1..i, mean over the rows i >= 2 of the demonstrations. mask [batch, n + 1, n + 1] -> [batch], never in
// bfloat16; n = 1: 0.
torch::Tensor divergence_from_uniform(const torch::Tensor& mask);

class TaskMaskImpl : public torch::nn::Module {
 public:
  explicit TaskMaskImpl(const ModelSettings& settings);

  // The gate t [batch, n, n] in (0, 1): how relevant token j is as row i sees it. g [batch, n, d]: guider of rows; e
  // [batch, n, d]: input fusion of the n = 1 + k tokens (query, then demonstrations).
  torch::Tensor relevance(const torch::Tensor& g, const torch::Tensor& e);
  // What is added to the attention logits, [batch, n + 1, n + 1]: row and column 0 are [BOS] and hold 0. Entries above
  // the diagonal mean nothing. g [batch, n + 1, d] includes the guider of [BOS]'s row.
  torch::Tensor forward(const torch::Tensor& g, const torch::Tensor& e, const torch::Tensor& cosine);

 private:
  bool printed_sign_;  // mask: paper
  double width_root_;
  torch::nn::Linear guider_in_{nullptr}, token_in_{nullptr}, out_{nullptr};
  torch::Tensor alpha_;  // scalar, weight of the query column's cosine in the rows of demonstrations
};
TORCH_MODULE(TaskMask);

}  // namespace saber
