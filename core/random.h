// Counter-based random streams. A stream is named by (seed, purpose, id...); what it yields depends on nothing
// else: not on rank, thread, call order of other streams or platform. Generator: Philox-4x32-10 (Salmon et al.,
// "Parallel random numbers: as easy as 1, 2, 3", 2011).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

namespace saber {

class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view purpose, std::initializer_list<std::int64_t> ids = {});

  std::uint32_t next_u32();
  std::uint64_t next_u64();
  // Uniform in [0, 1), 53 bits.
  double uniform();
  // Uniform integer in [0, bound), bound > 0, without bias.
  std::int64_t below(std::int64_t bound);
  // Uniform in (0, 1) from block number `block` alone: random access, whatever was drawn before.
  double uniform_at(std::uint64_t block) const;
  // Standard normal (Box-Muller).
  double normal();

  template <class T>
  void shuffle(std::vector<T>& values) {
    for (auto i = static_cast<std::int64_t>(values.size()) - 1; i > 0; --i) {
      std::swap(values[static_cast<std::size_t>(i)], values[static_cast<std::size_t>(below(i + 1))]);
    }
  }

  // `count` distinct elements of `values`, in random order. Throws when there are fewer.
  std::vector<std::int64_t> sample(std::vector<std::int64_t> values, std::int64_t count);

 private:
  std::array<std::uint32_t, 4> block_at(const std::array<std::uint32_t, 4>& counter) const;
  void refill();

  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;
};

}  // namespace saber
