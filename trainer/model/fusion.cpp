#include "trainer/model/fusion.h"

namespace saber {
namespace nn = torch::nn;

FusionImpl::FusionImpl(const ModelSettings& settings, const EmbeddingWidths& widths) {
  const auto projection = [&](std::int64_t from) {
    return nn::Linear(nn::LinearOptions(from, settings.width).bias(false));
  };
  image_projection_ = register_module("image_projection", projection(widths.image));
  text_projection_ = register_module("text_projection", projection(widths.text));
  if (settings.gate == "none") return;
  gate_ = register_module("gate", nn::Linear(2 * settings.width, settings.gate == "scalar" ? 1 : settings.width));
}

torch::Tensor FusionImpl::forward(const torch::Tensor& image, const torch::Tensor& text) {
  const torch::Tensor v = image_projection_(image), u = text_projection_(text);
  if (!gate_) return v + u;
  const torch::Tensor f = torch::sigmoid(gate_(torch::cat({v, u}, -1)));
  return 2 * (u + f * (v - u));
}

}  // namespace saber
