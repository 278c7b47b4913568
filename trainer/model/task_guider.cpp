#include "trainer/model/task_guider.h"

#include <cmath>
#include <limits>

namespace saber {
namespace nn = torch::nn;

torch::Tensor scaled_query_inputs(const torch::Tensor& image, const torch::Tensor& query,
                                  const torch::Tensor& instruction) {
  const auto scaled = [](const torch::Tensor& x) { return x * std::sqrt(static_cast<double>(x.size(-1))); };
  return torch::cat({scaled(image), scaled(query), scaled(instruction)}, -1);
}

TaskGuiderImpl::TaskGuiderImpl(const ModelSettings& settings, const EmbeddingWidths& widths) {
  up_ = register_module("up", nn::Linear(widths.image + 2 * widths.text, 4 * settings.width));
  down_ = register_module("down", nn::Linear(4 * settings.width, settings.width));
}

torch::Tensor TaskGuiderImpl::forward(const torch::Tensor& inputs) {
  return down_(torch::gelu(up_(inputs)));
}

GuiderUpdateImpl::GuiderUpdateImpl(const ModelSettings& settings)
    : scale_(1.0 / std::sqrt(static_cast<double>(settings.width))) {
  query_ = register_module("query", nn::Linear(nn::LinearOptions(settings.width, settings.width).bias(false)));
  key_value_ =
      register_module("key_value", nn::Linear(nn::LinearOptions(settings.width, 2 * settings.width).bias(false)));
  norm_ = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({settings.width})));
}

torch::Tensor GuiderUpdateImpl::forward(const torch::Tensor& g, const torch::Tensor& hidden,
                                        const torch::Tensor& later) {
  const std::vector<torch::Tensor> key_value = key_value_(hidden).chunk(2, -1);
  const torch::Tensor scores = torch::matmul(query_(g), key_value[0].transpose(1, 2)) * scale_;
  const torch::Tensor weights = scores.masked_fill(later, -std::numeric_limits<double>::infinity()).softmax(-1);
  return norm_(g + torch::matmul(weights, key_value[1]));
}

}  // namespace saber
