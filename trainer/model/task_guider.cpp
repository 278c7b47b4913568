#include "trainer/model/task_guider.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace saber {
namespace nn = torch::nn;

QueryMlpImpl::QueryMlpImpl(std::int64_t width, const EmbeddingWidths& widths, std::vector<std::string> inputs) {
  const auto takes = [&](const char* name) { return std::find(inputs.begin(), inputs.end(), name) != inputs.end(); };
  image_ = takes("image");
  query_ = takes("query");
  instruction_ = takes("instruction");
  const std::int64_t texts = (query_ ? 1 : 0) + (instruction_ ? 1 : 0);
  up_ = register_module("up", nn::Linear((image_ ? widths.image : 0) + texts * widths.text, 4 * width));
  down_ = register_module("down", nn::Linear(4 * width, width));
}

torch::Tensor QueryMlpImpl::forward(const QueryBatch& queries) {
  const auto scaled = [](const torch::Tensor& x) { return x * std::sqrt(static_cast<double>(x.size(-1))); };
  std::vector<torch::Tensor> inputs;
  if (image_) inputs.push_back(scaled(queries.image));
  if (query_) inputs.push_back(scaled(queries.query));
  if (instruction_) inputs.push_back(scaled(queries.instruction));
  return down_(torch::gelu(up_(torch::cat(inputs, -1))));
}

torch::Tensor QueryMlpImpl::squared_weights() const {
  return up_->weight.square().sum() + down_->weight.square().sum();
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
