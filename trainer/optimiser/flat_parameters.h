// All parameters of a model in one buffer and all gradients in another, so that clipping and update are one operation
// each and slices of the gradients can travel in place (gradient_reduction.h).
#pragma once

#include <torch/torch.h>

#include "trainer/checkpoint/safetensors.h"

namespace saber {

class FlatParameters {
 public:
  // Moves the model's parameters into the buffer (order: named_parameters()); the model keeps using them as views.
  explicit FlatParameters(torch::nn::Module& model);

  torch::Tensor& values() { return values_; }
  // [number of parameters + 1]: the last element carries the loss along.
  torch::Tensor& gradients_and_loss() { return gradients_and_loss_; }
  torch::Tensor gradients() const { return gradients_and_loss_.narrow(0, 0, values_.numel()); }
  torch::Tensor loss() const { return gradients_and_loss_[values_.numel()]; }
  std::int64_t num_parameters() const { return values_.numel(); }
  void zero_gradients() { gradients_and_loss_.zero_(); }

  // The slices of `flat` (as long as values()) under the parameters' names and shapes; views.
  NamedTensors named(const torch::Tensor& flat, const std::string& prefix = {}) const;

 private:
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> layout_;  // name and shape
  torch::Tensor values_, gradients_and_loss_;
};

}  // namespace saber
