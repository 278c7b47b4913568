#include "trainer/library/top_items.h"

#include <algorithm>
#include <limits>

namespace saber {
namespace {

constexpr std::int64_t kItems = std::int64_t{1} << 32, kLowBits = kItems - 1;

// A float's bits as an integer that is ordered as the float is; its own inverse.
torch::Tensor swap_order(const torch::Tensor& bits) {
  return bits.bitwise_xor(bits.bitwise_right_shift(31).bitwise_and_(0x7fffffff));
}

torch::Tensor keys_of(const torch::Tensor& values, const torch::Tensor& items) {
  const torch::Tensor bits = values.add(0.0).view(torch::kInt32);  // + 0: there is one zero
  return swap_order(bits).to(torch::kInt64).mul_(kItems).add_(kLowBits).sub_(items);
}

}  // namespace

torch::Tensor top_keys(const torch::Tensor& values, std::int64_t first, std::int64_t count) {
  const std::int64_t size = values.size(1);
  if (count == 1 && size > 0) {  // several times as fast; of equal values max takes the first
    const auto [value, index] = values.max(1, /*keepdim=*/true);
    return keys_of(value, index + first);
  }
  return top_of_keys(keys_of(values, torch::arange(first, first + size, values.options().dtype(torch::kInt64))), count);
}

torch::Tensor top_of_keys(const torch::Tensor& keys, std::int64_t count) {
  const std::int64_t found = std::min(count, keys.size(1));
  const torch::Tensor top = std::get<0>(keys.topk(found, 1));
  if (found == count) return top;
  return torch::constant_pad_nd(top, {0, count - found}, std::numeric_limits<std::int64_t>::min());
}

torch::Tensor values_of_keys(const torch::Tensor& keys) {
  return swap_order(keys.bitwise_right_shift(32).to(torch::kInt32)).view(torch::kFloat32);
}

torch::Tensor items_of_keys(const torch::Tensor& keys) {
  return torch::full({}, kLowBits, keys.options()).sub(keys.bitwise_and(kLowBits));
}

}  // namespace saber
