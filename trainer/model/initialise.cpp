#include "trainer/model/initialise.h"

#include <cmath>
#include <string>

#include "core/error.h"
#include "core/random.h"

namespace saber {
namespace {

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}
bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

torch::Tensor normals(const at::IntArrayRef sizes, RandomStream stream) {
  torch::Tensor out = torch::empty(sizes, torch::kFloat64);
  double* const values = out.data_ptr<double>();
  for (std::int64_t i = 0; i < out.numel(); ++i) values[i] = stream.normal();
  return out;
}

// Identity, or orthonormal rows or columns from a seed that is the same for every run.
torch::Tensor projection(const at::IntArrayRef sizes, const std::string& name) {
  if (sizes[0] == sizes[1]) return torch::eye(sizes[0], torch::kFloat64);
  const bool tall = sizes[0] > sizes[1];
  const torch::Tensor drawn = normals(sizes, RandomStream(0, "projection " + name));
  const torch::Tensor basis = std::get<0>(torch::linalg_qr(tall ? drawn : drawn.t()));
  return tall ? basis : basis.t();
}

torch::Tensor initial_value(const std::string& name, const torch::Tensor& p, std::int64_t blocks, std::uint64_t seed,
                            bool similarity) {
  const RandomStream stream(seed, "initial " + name);
  if (similarity && contains(name, "projection")) return projection(p.sizes(), name);
  if (contains(name, "fusion.gate") || (similarity && name == "head.weight") || name == "end_key")
    return torch::zeros_like(p);
  if (name == "begin" || name == "task" || name == "guider_start") return normals(p.sizes(), stream);
  if (name == "position" || name == "item") return 0.02 * normals(p.sizes(), stream);
  if (name == "log_scale") return torch::full_like(p, similarity ? 2.3 : 0.0);
  if (ends_with(name, "alpha") || (contains(name, "norm") && ends_with(name, "weight"))) return torch::ones_like(p);
  if (ends_with(name, "bias")) return torch::zeros_like(p);
  ensure(p.dim() == 2, "every parameter has a rule for its initial value");
  const bool ends_residual = contains(name, "block") && (contains(name, ".out.") || contains(name, ".down."));
  const double variance =
      1.0 / static_cast<double>(p.size(1)) / (ends_residual ? 2.0 * static_cast<double>(blocks) : 1.0);
  return std::sqrt(variance) * normals(p.sizes(), stream);
}

}  // namespace

void initialise(torch::nn::Module& model, std::uint64_t seed, bool similarity) {
  const torch::NoGradGuard no_grad;
  std::int64_t blocks = 0;
  for (const auto& child : model.named_children()) blocks += contains(child.key(), "block") ? 1 : 0;
  for (auto& item : model.named_parameters())
    item.value().copy_(initial_value(item.key(), item.value(), blocks, seed, similarity));
}

}  // namespace saber
