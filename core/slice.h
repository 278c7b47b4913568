// Contiguous shares of a range of numbers.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/error.h"

namespace saber {

// Half-open.
struct Slice {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
};

// The share of 0 .. total - 1 that rank r of W takes: contiguous, in rank order, sizes differ by at most 1.
inline Slice slice_of_rank(std::int64_t total, std::int64_t rank, std::int64_t world_size) {
  ensure(total >= 0 && rank >= 0 && rank < world_size, "a slice belongs to a rank of the world");
  const std::int64_t base = total / world_size, larger = total % world_size;
  const std::int64_t begin = rank * base + std::min(rank, larger);
  return {begin, begin + base + (rank < larger ? 1 : 0)};
}

}  // namespace saber
