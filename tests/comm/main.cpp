// Starts MPI before any test and ends it after the last. A rank that fails ends the others, which may wait for it.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/comm/mpi_world.h"

namespace {
const saber::MpiSession* world = nullptr;
}

namespace saber::test {

const MpiSession& mpi_world() {
  return *world;
}

}  // namespace saber::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const saber::MpiSession session(&argc, &argv);
  world = &session;
  const int status = RUN_ALL_TESTS();
  if (status != 0) session.abort(status);
  const testing::UnitTest& tests = *testing::UnitTest::GetInstance();
  // CTest then lists the program as skipped, not as passed.
  if (tests.skipped_test_count() > 0 && tests.successful_test_count() == 0) std::puts("no test ran: all were skipped");
  return 0;
}
