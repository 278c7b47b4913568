// Tensors by name: what a model, an optimiser or an objective hands over to be saved or restored.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <string>

namespace saber {

using NamedTensors = std::map<std::string, at::Tensor>;  // sorted by name, so that the same tensors give the same bytes

}  // namespace saber
