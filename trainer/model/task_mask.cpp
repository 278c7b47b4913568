#include "trainer/model/task_mask.h"

#include <cmath>

#include "trainer/model/precision.h"

namespace saber {
namespace nn = torch::nn;
namespace {
constexpr double kGateFloor = 1e-4;
}

torch::Tensor pairwise_cosine(const torch::Tensor& e) {
  const torch::Tensor unit = nn::functional::normalize(e, nn::functional::NormalizeFuncOptions().dim(-1));
  return torch::matmul(unit, unit.transpose(1, 2));
}

torch::Tensor divergence_from_uniform(const torch::Tensor& mask) {
  const torch::Tensor full = full_precision(mask);
  const std::int64_t n = mask.size(1) - 1;
  if (n < 2) return torch::zeros({mask.size(0)}, full.options());
  const torch::Tensor rows = full.slice(1, 2).slice(2, 1);  // [batch, n - 1, n]; row r sees columns 0..r + 1
  const torch::Tensor later = torch::ones({n - 1, n}, rows.options().dtype(torch::kBool)).triu(2);
  const torch::Tensor log_p = rows.masked_fill(later, -1e30).log_softmax(-1);
  const torch::Tensor seen = torch::arange(2, n + 1, rows.options());
  return ((log_p.exp() * log_p.masked_fill(later, 0)).sum(-1) + seen.log()).mean(-1);
}

TaskMaskImpl::TaskMaskImpl(const ModelSettings& settings)
    : printed_sign_(settings.mask == "paper"), width_root_(std::sqrt(static_cast<double>(settings.width))) {
  const std::int64_t d = settings.width;
  // The MLP (2d -> d -> 1) on the concatenation, its first matrix kept as two halves so that each is applied once per
  // token and not once per pair.
  guider_in_ = register_module("guider_in", nn::Linear(d, d));
  token_in_ = register_module("token_in", nn::Linear(nn::LinearOptions(d, d).bias(false)));
  out_ = register_module("out", nn::Linear(d, 1));
  alpha_ = register_parameter("alpha", torch::ones({}));
}

torch::Tensor TaskMaskImpl::relevance(const torch::Tensor& g, const torch::Tensor& e) {
  const torch::Tensor rows = guider_in_(g).unsqueeze(2), columns = token_in_(e * width_root_).unsqueeze(1);
  return torch::sigmoid(out_(torch::gelu(rows + columns)).squeeze(-1)).clamp(kGateFloor, 1 - kGateFloor);
}

torch::Tensor TaskMaskImpl::forward(const torch::Tensor& g, const torch::Tensor& e, const torch::Tensor& cosine) {
  const std::int64_t n = e.size(1);
  const torch::Tensor t = relevance(g.narrow(1, 1, n), e);
  // alpha where a demonstration (row >= 1 of these n) looks at the query (column 0), else 1.
  torch::Tensor looks_at_query = torch::zeros({n, n}, e.options());
  looks_at_query.slice(0, 1).select(1, 0).fill_(1);
  const torch::Tensor similarity = cosine * (1 + (alpha_ - 1) * looks_at_query) / width_root_;
  const torch::Tensor mask = printed_sign_ ? -t.log() * similarity : t * similarity + t.log();
  return nn::functional::pad(mask, nn::functional::PadFuncOptions({1, 0, 1, 0}));
}

}  // namespace saber
