#include "core/slice.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace saber {
namespace {

TEST(Slice, SharesTileTheRangeForEveryWorldSize) {
  constexpr std::int64_t kTotal = 11;
  for (std::int64_t world = 1; world <= 14; ++world) {
    std::int64_t end = 0;
    for (std::int64_t rank = 0; rank < world; ++rank) {
      const Slice slice = slice_of_rank(kTotal, rank, world);
      EXPECT_EQ(slice.begin, end);
      EXPECT_GE(slice.size(), kTotal / world);
      EXPECT_LE(slice.size(), kTotal / world + 1);
      end = slice.end;
    }
    EXPECT_EQ(end, kTotal);
  }
}

TEST(Slice, IsOfARankOfTheWorld) {
  EXPECT_THROW(slice_of_rank(4, 2, 2), Error);
  EXPECT_THROW(slice_of_rank(4, -1, 2), Error);
  EXPECT_THROW(slice_of_rank(-1, 0, 2), Error);
}

}  // namespace
}  // namespace saber
