#include "trainer/optimiser/flat_parameters.h"

namespace saber {

FlatParameters::FlatParameters(torch::nn::Module& model, c10d::ProcessGroup* group) {
  const torch::NoGradGuard no_grad;
  std::int64_t total = 0;
  for (const torch::Tensor& p : model.parameters()) total += p.numel();
  const torch::TensorOptions options = model.parameters().front().options().requires_grad(false);
  values_ = torch::empty({total}, options);
  gradients_and_loss_ =
      group != nullptr ? zeros_to_sum(*group, total + 1, options) : torch::zeros({total + 1}, options);
  std::int64_t offset = 0;
  for (auto& item : model.named_parameters()) {
    torch::Tensor& p = item.value();
    const std::int64_t count = p.numel();
    const torch::Tensor view = values_.narrow(0, offset, count).view(p.sizes());
    view.copy_(p);
    p.set_data(view);
    names_.push_back(item.key());
    parameters_.push_back(p);
    gradient_views_.push_back(gradients_and_loss_.narrow(0, offset, count).view(p.sizes()));
    p.mutable_grad() = gradient_views_.back();
    offset += count;
  }
}

void FlatParameters::drop_gradients() {
  loss().zero_();
  for (torch::Tensor& p : parameters_) p.mutable_grad() = torch::Tensor();
}

void FlatParameters::settle_gradient(std::size_t i) {
  torch::Tensor& grad = parameters_[i].mutable_grad();
  if (!grad.defined()) {
    gradient_views_[i].zero_();
  } else if (grad.data_ptr() != gradient_views_[i].data_ptr()) {
    gradient_views_[i].copy_(grad);
  }
  grad = gradient_views_[i];
}

NamedTensors FlatParameters::named(const torch::Tensor& flat, const std::string& prefix) const {
  NamedTensors out;
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    const std::int64_t count = parameters_[i].numel();
    out[prefix + names_[i]] = flat.narrow(0, offset, count).view(parameters_[i].sizes());
    offset += count;
  }
  return out;
}

}  // namespace saber
