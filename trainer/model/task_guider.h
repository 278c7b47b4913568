// The Task Guider (docs/model.md, eq. 7 and 11): what the task asks for, one state per position, updated causally.
#pragma once

#include <torch/torch.h>

#include "trainer/model/model_settings.h"

namespace saber {

// Frozen embeddings of a batch of queries, rows L2-normalised. The queries' results are not among them.
struct QueryBatch {
  torch::Tensor image;        // [batch, D_I]
  torch::Tensor query;        // [batch, D_T], E_T(Q)
  torch::Tensor instruction;  // [batch, D_T], E_T(Inst')
};

// An MLP with 4d hidden units on some of a query's three embeddings, scaled to unit variance and concatenated: what the
// guider starts from (eq. 7), and in the plain control the query's token.
class QueryMlpImpl : public torch::nn::Module {
 public:
  // inputs: of image, query, instruction.
  QueryMlpImpl(std::int64_t width, const EmbeddingWidths& widths, std::vector<std::string> inputs);

  // [batch, d]
  torch::Tensor forward(const QueryBatch& queries);
  // |W_1|^2 + |W_2|^2, a scalar.
  torch::Tensor squared_weights() const;

 private:
  bool image_, query_, instruction_;
  torch::nn::Linear up_{nullptr}, down_{nullptr};
};
TORCH_MODULE(QueryMlp);

class GuiderUpdateImpl : public torch::nn::Module {
 public:
  explicit GuiderUpdateImpl(const ModelSettings& settings);

  // g, hidden: [batch, length, d]; later: bool [length, length], true where column > row. Row i attends to hidden
  // positions 0..i only. Returns the new g.
  torch::Tensor forward(const torch::Tensor& g, const torch::Tensor& hidden, const torch::Tensor& later);

 private:
  double scale_;
  torch::nn::Linear query_{nullptr}, key_value_{nullptr};
  torch::nn::LayerNorm norm_{nullptr};
};
TORCH_MODULE(GuiderUpdate);

}  // namespace saber
