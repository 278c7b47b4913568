#include "core/random.h"

#include <cmath>
#include <numbers>

#include "core/error.h"

namespace saber {
namespace {

// SplitMix64's finaliser: spreads every input bit over the word.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

std::uint32_t low(std::uint64_t x) {
  return static_cast<std::uint32_t>(x);
}
std::uint32_t high(std::uint64_t x) {
  return static_cast<std::uint32_t>(x >> 32);
}

}  // namespace

RandomStream::RandomStream(std::uint64_t seed, std::string_view purpose, std::initializer_list<std::int64_t> ids) {
  std::uint64_t a = mix(seed);
  std::uint64_t b = mix(seed ^ 0xD1B54A32D192ED03u);
  const auto absorb = [&](std::uint64_t word) {
    a = mix(a ^ word);
    b = mix(b + word);
  };
  for (const char c : purpose) absorb(static_cast<unsigned char>(c));
  absorb(0x100 + purpose.size());
  for (const std::int64_t id : ids) absorb(static_cast<std::uint64_t>(id));
  key_ = {low(a), high(a)};
  counter_ = {0, 0, low(b), high(b)};
}

std::array<std::uint32_t, 4> RandomStream::block_at(const std::array<std::uint32_t, 4>& counter) const {
  std::array<std::uint32_t, 4> x = counter;
  std::array<std::uint32_t, 2> k = key_;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * x[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * x[2];
    x = {high(p1) ^ x[1] ^ k[0], low(p1), high(p0) ^ x[3] ^ k[1], low(p0)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return x;
}

void RandomStream::refill() {
  block_ = block_at(counter_);
  used_ = 0;
  if (++counter_[0] == 0) ++counter_[1];
}

double RandomStream::uniform_at(std::uint64_t block) const {
  const auto words = block_at({low(block), high(block), counter_[2], counter_[3]});
  const std::uint64_t bits = words[0] | std::uint64_t{words[1]} << 32;
  return (static_cast<double>(bits >> 12) + 0.5) * 0x1.0p-52;
}

std::uint32_t RandomStream::next_u32() {
  if (used_ == 4) refill();
  return block_[static_cast<std::size_t>(used_++)];
}

std::uint64_t RandomStream::next_u64() {
  const std::uint64_t first = next_u32();
  return first | std::uint64_t{next_u32()} << 32;
}

double RandomStream::uniform() {
  return static_cast<double>(next_u64() >> 11) * 0x1.0p-53;
}

std::int64_t RandomStream::below(std::int64_t bound) {
  ensure(bound > 0, "RandomStream::below wants a positive bound");
  const auto range = static_cast<std::uint64_t>(bound);
  const std::uint64_t limit = UINT64_MAX - UINT64_MAX % range;
  std::uint64_t x = next_u64();
  while (x >= limit) x = next_u64();
  return static_cast<std::int64_t>(x % range);
}

double RandomStream::normal() {
  const double u = 1.0 - uniform();  // (0, 1]
  const double v = uniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

std::vector<std::int64_t> RandomStream::sample(std::vector<std::int64_t> values, std::int64_t count) {
  const auto size = static_cast<std::int64_t>(values.size());
  ensure(count <= size, "RandomStream::sample wants no more elements than there are");
  for (std::int64_t i = 0; i < count; ++i) {
    std::swap(values[static_cast<std::size_t>(i)], values[static_cast<std::size_t>(i + below(size - i))]);
  }
  values.resize(static_cast<std::size_t>(count));
  return values;
}

}  // namespace saber
