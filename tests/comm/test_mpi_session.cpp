#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>

#include "comm/agreed_error.h"
#include "tests/comm/mpi_world.h"

namespace saber {
namespace {

using test::mpi_world;

// What the work throws as an AgreedError; fails the test when it throws nothing.
AgreedError agreed_error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const AgreedError& error) {
    return error;
  }
  throw std::logic_error("no AgreedError was thrown");
}

TEST(MpiSession, KnowsItsPlace) {
  const MpiSession& world = mpi_world();
  EXPECT_GE(world.rank(), 0);
  EXPECT_LT(world.rank(), world.world_size());
  EXPECT_EQ(world.is_root(), world.rank() == 0);
  EXPECT_FALSE(world.host().empty());
  // The tests run on one machine.
  EXPECT_EQ(world.num_local_ranks(), world.world_size());
  EXPECT_EQ(world.local_rank(), world.rank());
}

TEST(MpiSession, RanksShareTheCoresOfOneMask) {
  cpu_set_t mask;
  ASSERT_EQ(sched_getaffinity(0, sizeof mask, &mask), 0);
  EXPECT_EQ(mpi_world().num_threads(), std::max(1, CPU_COUNT(&mask) / mpi_world().num_local_ranks()));
}

TEST(MpiSession, OnRootSendsItsResultToAll) {
  int calls = 0;
  const std::string big(3'000'001, 'x');
  EXPECT_EQ(mpi_world().on_root([&] { return ++calls, big; }), big);
  EXPECT_EQ(calls, mpi_world().is_root() ? 1 : 0);
  EXPECT_EQ(mpi_world().on_root([] { return std::string(); }), "");
  EXPECT_EQ(mpi_world().on_root([] { return std::string("a\0b", 3); }), std::string("a\0b", 3));
}

TEST(MpiSession, AnErrorOnTheRootIsKnownToAll) {
  const AgreedError error = agreed_error_of(
      [] { mpi_world().on_root([]() -> std::string { throw_bad_input("found 3, wanted 4", "file.h5", "mend it"); }); });
  EXPECT_EQ(error.kind(), ErrorKind::bad_input);
  EXPECT_EQ(error.message(), "found 3, wanted 4");
  EXPECT_EQ(error.place(), "file.h5");
  EXPECT_EQ(error.hint(), "mend it");
  EXPECT_EQ(error.exit_status(), 2);
  EXPECT_EQ(error.reported_elsewhere(), !mpi_world().is_root());
}

TEST(MpiSession, OtherExceptionsBecomeInternalErrors) {
  const AgreedError error =
      agreed_error_of([] { mpi_world().on_root([]() -> std::string { throw std::out_of_range("subscript 7"); }); });
  EXPECT_EQ(error.kind(), ErrorKind::internal);
  EXPECT_EQ(error.message(), "subscript 7");
  EXPECT_EQ(error.exit_status(), 1);
}

TEST(MpiSession, AnErrorOnTheLastRankIsKnownToAll) {
  const int last = mpi_world().world_size() - 1;
  const AgreedError error = agreed_error_of([&] {
    mpi_world().on_all([&] {
      if (mpi_world().rank() == last) throw Error(ErrorKind::not_available, "no GPU", "rank " + std::to_string(last));
    });
  });
  EXPECT_EQ(error.kind(), ErrorKind::not_available);
  EXPECT_EQ(error.place(), "rank " + std::to_string(last));
  EXPECT_EQ(error.exit_status(), 2);
  EXPECT_EQ(error.reported_elsewhere(), mpi_world().rank() != last);
}

TEST(MpiSession, EachFailingRankKeepsItsOwnErrorAndTheSameOneIsReportedOnce) {
  const int rank = mpi_world().rank();
  const AgreedError own =
      agreed_error_of([&] { mpi_world().on_all([&] { throw_bad_input("rank " + std::to_string(rank)); }); });
  EXPECT_EQ(own.message(), "rank " + std::to_string(rank));
  EXPECT_FALSE(own.reported_elsewhere());
  const AgreedError same = agreed_error_of([] { mpi_world().on_all([] { throw_bad_input("disk full"); }); });
  EXPECT_EQ(same.message(), "disk full");
  EXPECT_EQ(same.reported_elsewhere(), rank != 0);
}

TEST(MpiSession, GathersTextsOfAnyLength) {
  const auto text_of = [](int rank) { return std::string(static_cast<std::size_t>(5 * rank), 'a') + '\0'; };
  const std::vector<std::string> all = mpi_world().all_gather(text_of(mpi_world().rank()));
  ASSERT_EQ(static_cast<int>(all.size()), mpi_world().world_size());
  for (int r = 0; r < mpi_world().world_size(); ++r) EXPECT_EQ(all[static_cast<std::size_t>(r)], text_of(r));
  for (const std::string& text : mpi_world().all_gather("")) EXPECT_EQ(text, "");
}

TEST(MpiSession, WorkWithoutErrorGoesOn) {
  int calls = 0;
  mpi_world().on_all([&] { ++calls; });
  mpi_world().barrier();
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace saber
