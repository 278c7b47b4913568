#include "core/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <limits>

#include "core/narrow.h"

namespace saber {
namespace {

TEST(Error, TextHoldsPlaceMessageAndHint) {
  EXPECT_STREQ(Error(ErrorKind::io, "full", "a.h5", "delete something").what(), "a.h5: full (delete something)");
  EXPECT_STREQ(Error(ErrorKind::io, "full").what(), "full");
  const Error error(ErrorKind::io, "full", "a.h5", "delete something");
  EXPECT_EQ(error.message(), "full");
  EXPECT_EQ(error.place(), "a.h5");
  EXPECT_EQ(error.hint(), "delete something");
}

TEST(Error, ExitStatusTellsTheUsersErrorsFromOthers) {
  EXPECT_EQ(Error(ErrorKind::bad_input, "").exit_status(), 2);
  EXPECT_EQ(Error(ErrorKind::not_available, "").exit_status(), 2);
  EXPECT_EQ(Error(ErrorKind::io, "").exit_status(), 1);
  EXPECT_EQ(Error(ErrorKind::internal, "").exit_status(), 1);
}

TEST(Error, ShorthandsThrowTheirKind) {
  try {
    throw_io("cannot open", "x", ENOENT);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_STREQ(error.what(), "x: cannot open: No such file or directory");
  }
  try {
    ensure(false, "two is even");
    FAIL() << "ensure let it pass";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::internal);
    EXPECT_EQ(error.message(), "two is even");
  }
  EXPECT_NO_THROW(ensure(true, ""));
}

TEST(Narrow, ThrowsWhereAValueWouldBeLost) {
  EXPECT_EQ(narrow<int>(std::int64_t{-5}), -5);
  EXPECT_EQ(narrow<std::uint8_t>(255), 255);
  EXPECT_THROW(narrow<int>(std::int64_t{1} << 31), Error);
  EXPECT_THROW(narrow<std::uint64_t>(-1), Error);
  EXPECT_THROW(narrow<std::int64_t>(std::numeric_limits<std::uint64_t>::max()), Error);
}

TEST(Narrow, CeilDivRoundsUp) {
  EXPECT_EQ(ceil_div(0, 4), 0);
  EXPECT_EQ(ceil_div(8, 4), 2);
  EXPECT_EQ(ceil_div(9, 4), 3);
}

}  // namespace
}  // namespace saber
