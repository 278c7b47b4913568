// The Task Guider (docs/model.md, eq. 7 and 11): what the task asks for, one state per position, updated causally.
#pragma once

#include <torch/torch.h>

#include "trainer/model/model_settings.h"

namespace saber {

// picture, question and instruction of a query, scaled to unit variance and concatenated: [batch, D_I + 2 D_T].
torch::Tensor scaled_query_inputs(const torch::Tensor& image, const torch::Tensor& query,
                                  const torch::Tensor& instruction);

class TaskGuiderImpl : public torch::nn::Module {
 public:
  TaskGuiderImpl(const ModelSettings& settings, const EmbeddingWidths& widths);

  // scaled_query_inputs [batch, D_I + 2 D_T] -> g0 [batch, d].
  torch::Tensor forward(const torch::Tensor& inputs);

 private:
  torch::nn::Linear up_{nullptr}, down_{nullptr};
};
TORCH_MODULE(TaskGuider);

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
