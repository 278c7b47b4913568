#include "trainer/optimiser/flat_parameters.h"

namespace saber {

FlatParameters::FlatParameters(torch::nn::Module& model) {
  const torch::NoGradGuard no_grad;
  std::int64_t total = 0;
  for (const torch::Tensor& p : model.parameters()) total += p.numel();
  const torch::TensorOptions options = model.parameters().front().options().requires_grad(false);
  values_ = torch::empty({total}, options);
  gradients_and_loss_ = torch::zeros({total + 1}, options);
  std::int64_t offset = 0;
  for (auto& item : model.named_parameters()) {
    torch::Tensor& p = item.value();
    const std::int64_t count = p.numel();
    const torch::Tensor place = values_.narrow(0, offset, count).view(p.sizes());
    place.copy_(p);
    p.set_data(place);
    p.mutable_grad() = gradients_and_loss_.narrow(0, offset, count).view(p.sizes());
    layout_.emplace_back(item.key(), p.sizes().vec());
    offset += count;
  }
}

NamedTensors FlatParameters::named(const torch::Tensor& flat, const std::string& prefix) const {
  NamedTensors out;
  std::int64_t offset = 0;
  for (const auto& [name, shape] : layout_) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    out[prefix + name] = flat.narrow(0, offset, count).view(shape);
    offset += count;
  }
  return out;
}

}  // namespace saber
