// What the benchmarks share.
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

namespace saber {

inline double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Floating-point operations per second of this process in the product [rows, 512] x [512, 512], median of 30. Several
// ranks measure at the same time when `ready` is their barrier.
inline double matmul_rate(
    std::int64_t rows, const std::function<void()>& ready = [] {}, torch::ScalarType type = torch::kFloat32) {
  const torch::Tensor a = torch::randn({rows, 512}).to(type), b = torch::randn({512, 512}).to(type);
  std::vector<double> rates;
  for (int i = 0; i < 30; ++i) {
    ready();
    rates.push_back(2.0 * static_cast<double>(rows) * 512 * 512 / seconds_of([&] { at::mm(a, b); }));
  }
  return median(rates);
}

}  // namespace saber
