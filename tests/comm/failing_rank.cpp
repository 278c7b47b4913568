// A test that fails on the last rank while the others wait for it, and a next one that keeps that rank busy: what
// tests/comm/main.cpp does then. It is meant to fail.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/comm/mpi_world.h"

namespace saber {
namespace {

using test::mpi_world;

TEST(FailingRank, Fails) {
  ASSERT_LT(mpi_world().rank() + 1, mpi_world().world_size()) << "meant to fail here";
  mpi_world().barrier();
}

TEST(FailingRank, GoesOn) {
  std::this_thread::sleep_for(std::chrono::minutes(2));
}

}  // namespace
}  // namespace saber
