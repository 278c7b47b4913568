// All parameters of a model in one buffer and all gradients in another, so that parts of both are
// updated at once and slices of the gradients can travel in place (gradient_reduction.h).
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "comm/process_group.h"
#include "trainer/formats/named_tensors.h"

namespace saber {

class FlatParameters {
 public:
  // Moves the model's parameters into the buffer (order: named_parameters()); the model keeps using them as views.
  // group: that will sum the gradients, if any; collective then.
  explicit FlatParameters(torch::nn::Module& model, c10d::ProcessGroup* group = nullptr);

  torch::Tensor& values() { return values_; }
  // [number of parameters + 1]: the last element carries the loss along.
  torch::Tensor& gradients_and_loss() { return gradients_and_loss_; }
  torch::Tensor gradients() const { return gradients_and_loss_.narrow(0, 0, values_.numel()); }
  torch::Tensor loss() const { return gradients_and_loss_[values_.numel()]; }
  std::int64_t num_parameters() const { return values_.numel(); }

  // Sets the loss to zero and forgets all gradients: what the next backward makes first is taken over instead of being
  // added to zeros.
  void drop_gradients();
  // Puts what backward has made for parameter i (in the order of parameters()) into its place in the buffer, to which
  // later backwards add; zeros if it has made nothing.
  void settle_gradient(std::size_t i);
  const std::vector<torch::Tensor>& parameters() const { return parameters_; }

  // The slices of `flat` (as long as values()) under the parameters' names and shapes; views.
  NamedTensors named(const torch::Tensor& flat, const std::string& prefix = {}) const;

 private:
  std::vector<std::string> names_;
  std::vector<torch::Tensor> parameters_, gradient_views_;  // of the buffer
  torch::Tensor values_, gradients_and_loss_;
};

}  // namespace saber
