#include "core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <string>

#include "core/error.h"

namespace saber {
namespace {

// The members of RandomStream, to start it from a given key and counter.
struct RawStream {
  std::array<std::uint32_t, 2> key;
  std::array<std::uint32_t, 4> counter;
  std::array<std::uint32_t, 4> block;
  int used;
};

std::vector<std::uint32_t> first_block(std::array<std::uint32_t, 2> key, std::array<std::uint32_t, 4> counter) {
  auto stream = std::bit_cast<RandomStream>(RawStream{key, counter, {}, 4});
  std::vector<std::uint32_t> out(4);
  std::generate(out.begin(), out.end(), [&] { return stream.next_u32(); });
  return out;
}

std::vector<std::uint64_t> draws(RandomStream stream, int count) {
  std::vector<std::uint64_t> out(static_cast<std::size_t>(count));
  std::generate(out.begin(), out.end(), [&] { return stream.next_u64(); });
  return out;
}

TEST(Random, KnownAnswersOfPhilox4x32With10Rounds) {
  // The three vectors of the Random123 distribution.
  using Words = std::vector<std::uint32_t>;
  constexpr std::uint32_t kOnes = 0xffffffffU;
  EXPECT_EQ(first_block({0, 0}, {0, 0, 0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(first_block({kOnes, kOnes}, {kOnes, kOnes, kOnes, kOnes}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(first_block({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, TheCounterCarries) {
  auto stream = std::bit_cast<RandomStream>(RawStream{{0, 0}, {0xffffffffU, 0, 0, 0}, {}, 4});
  for (int i = 0; i < 4; ++i) stream.next_u32();
  EXPECT_EQ(stream.next_u32(), first_block({0, 0}, {0, 1, 0, 0})[0]);
}

TEST(Random, StreamsDoNotDependOnEachOther) {
  const auto alone = draws(RandomStream(1, "a", {2}), 10);
  RandomStream first(1, "a", {2}), second(1, "b", {2});
  for (const std::uint64_t wanted : alone) {
    second.next_u32();
    EXPECT_EQ(first.next_u64(), wanted);
  }
}

TEST(Random, EveryPartOfTheNameCounts) {
  std::set<std::vector<std::uint64_t>> seen;
  std::size_t streams = 0;
  const auto add = [&](RandomStream stream) {
    seen.insert(draws(stream, 2));
    ++streams;
  };
  for (const std::uint64_t seed : {0U, 1U, 2U}) {
    for (const std::string purpose : {"", "a", "b", "ab", "ba"}) {
      add(RandomStream(seed, purpose));
      for (const std::int64_t id : {0, 1, -1, 2}) {
        add(RandomStream(seed, purpose, {id}));
        add(RandomStream(seed, purpose, {id, 0}));
        add(RandomStream(seed, purpose, {0, id, 7}));
      }
    }
  }
  // {0, id} and {id, 0} are different names; only the repeated {0, 0}-like ones of the loop could coincide: none do.
  EXPECT_EQ(seen.size(), streams);
}

TEST(Random, BelowKeepsItsBoundAndIsUniform) {
  RandomStream stream(3, "below");
  std::vector<int> counts(7);
  for (int i = 0; i < 70'000; ++i) {
    const std::int64_t x = stream.below(7);
    ASSERT_GE(x, 0);
    ASSERT_LT(x, 7);
    ++counts[static_cast<std::size_t>(x)];
  }
  double chi_square = 0;
  for (const int count : counts) chi_square += (count - 10'000.0) * (count - 10'000.0) / 10'000.0;
  EXPECT_LT(chi_square, 27.9);  // 6 degrees of freedom, one in 10 000
  EXPECT_EQ(stream.below(1), 0);
  EXPECT_LT(stream.below(INT64_MAX), INT64_MAX);
  EXPECT_THROW(stream.below(0), Error);
}

TEST(Random, UniformAndNormalHaveTheirMoments) {
  RandomStream stream(4, "moments");
  constexpr int kDraws = 100'000;
  double uniform_sum = 0, normal_sum = 0, normal_squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = stream.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    uniform_sum += u;
    const double z = stream.normal();
    ASSERT_TRUE(std::isfinite(z));
    normal_sum += z;
    normal_squares += z * z;
  }
  EXPECT_NEAR(uniform_sum / kDraws, 0.5, 0.004);     // 4 standard errors
  EXPECT_NEAR(normal_sum / kDraws, 0.0, 0.013);      // 4 standard errors
  EXPECT_NEAR(normal_squares / kDraws, 1.0, 0.018);  // 4 standard errors
}

TEST(Random, ShuffleAndSampleKeepTheElements) {
  std::vector<std::int64_t> values(50);
  std::iota(values.begin(), values.end(), 100);
  RandomStream stream(5, "shuffle");
  std::vector<std::int64_t> shuffled = values;
  stream.shuffle(shuffled);
  EXPECT_NE(shuffled, values);
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(shuffled, values);

  const auto some = stream.sample(values, 20);
  EXPECT_EQ(std::set<std::int64_t>(some.begin(), some.end()).size(), 20U);
  EXPECT_TRUE(std::all_of(some.begin(), some.end(), [](std::int64_t v) { return v >= 100 && v < 150; }));
  EXPECT_EQ(stream.sample(values, 50).size(), 50U);
  EXPECT_TRUE(stream.sample({}, 0).empty());
  EXPECT_THROW(stream.sample(values, 51), Error);
}

TEST(Random, ShuffleReachesEveryOrderEquallyOften) {
  std::map<std::vector<int>, int> counts;
  for (std::int64_t i = 0; i < 6000; ++i) {
    std::vector<int> values{0, 1, 2};
    RandomStream(6, "orders", {i}).shuffle(values);
    ++counts[values];
  }
  ASSERT_EQ(counts.size(), 6U);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 130);
}

TEST(Random, RandomAccessIsUniformAndIndependentOfDraws) {
  RandomStream stream(3, "access", {1});
  const double before = stream.uniform_at(17);
  stream.next_u32();
  stream.uniform();
  EXPECT_EQ(stream.uniform_at(17), before);
  EXPECT_EQ(RandomStream(3, "access", {1}).uniform_at(17), before);
  EXPECT_NE(RandomStream(3, "access", {2}).uniform_at(17), before);
  EXPECT_NE(stream.uniform_at(17 + (std::uint64_t{1} << 32)), before) << "all 64 bits of the number count";
  constexpr int kCount = 20000;
  double sum = 0, squares = 0;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const double u = stream.uniform_at(i);
    ASSERT_GT(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / kCount, 0.5, 0.01);
  EXPECT_NEAR(squares / kCount, 1.0 / 3, 0.01);
}

TEST(Random, RandomAccessReadsTheBlocksOfTheStream) {
  // Block 0 and 1 hold the words that sequential draws begin with.
  RandomStream stream(3, "access");
  for (std::uint64_t block = 0; block < 2; ++block) {
    const std::uint64_t bits = stream.next_u64();
    stream.next_u64();
    EXPECT_EQ(RandomStream(3, "access").uniform_at(block), (static_cast<double>(bits >> 12) + 0.5) * 0x1.0p-52);
  }
}

}  // namespace
}  // namespace saber
