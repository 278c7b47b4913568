// The items of largest value, in one order whatever the shards: the larger value first, of equal values the smaller
// item. A key is value and item in one integer; larger keys come first.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace saber {

// The `count` largest keys of each row, largest first: int64 [n, count]; rows that are too short are filled up with
// keys of no item, which are the smallest. values: float32 [n, m], no NaN, of items first, first + 1, ... (< 2^32).
torch::Tensor top_keys(const torch::Tensor& values, std::int64_t first, std::int64_t count);

// The same of keys [n, m].
torch::Tensor top_of_keys(const torch::Tensor& keys, std::int64_t count);

// Value, float32, and item, int64, of keys of items.
torch::Tensor values_of_keys(const torch::Tensor& keys);
torch::Tensor items_of_keys(const torch::Tensor& keys);

}  // namespace saber
