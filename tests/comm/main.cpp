// Starts MPI before any test and ends it after the last. The first failure of a rank ends all ranks at once: the others
// may wait for what the rest of the failed test would have sent, and no later test could be trusted.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "tests/comm/mpi_world.h"

namespace {
const saber::MpiSession* world = nullptr;

class EndAllRanks : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo& test) override {
    name_ = std::string(test.test_suite_name()) + "." + test.name();
  }
  // gtest's own printer comes first among the listeners: the failure itself has been printed. gtest holds a lock here
  // that asking it for the current test would wait for.
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fflush(stdout);
    std::fprintf(stderr, "rank %d of %d fails in %s and ends all ranks\n", world->rank(), world->world_size(),
                 name_.c_str());
    world->abort(1);
  }

  std::string name_ = "no test";
};

}  // namespace

namespace saber::test {

const MpiSession& mpi_world() {
  return *world;
}

}  // namespace saber::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const saber::MpiSession session(&argc, &argv);
  world = &session;
  testing::UnitTest::GetInstance()->listeners().Append(new EndAllRanks);  // gtest deletes it
  const int status = RUN_ALL_TESTS();
  if (status != 0) session.abort(status);
  const testing::UnitTest& tests = *testing::UnitTest::GetInstance();
  // CTest then lists the program as skipped, not as passed.
  if (tests.skipped_test_count() > 0 && tests.successful_test_count() == 0) std::puts("no test ran: all were skipped");
  return 0;
}
