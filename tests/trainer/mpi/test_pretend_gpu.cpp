// On a device that cannot do what a GPU cannot do, everything runs and gives what it gives on the CPU: no tensor was
// left behind.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/support/pretend_gpu.h"
#include "tests/trainer/mpi/device_checks.h"

namespace saber {
namespace {

using test::pretend_gpu;

class PretendGpu : public testing::Test {
 protected:
  void SetUp() override { at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false); }
  void TearDown() override { at::globalContext().setDeterministicAlgorithms(false, /*warn_only=*/false); }
};

TEST_F(PretendGpu, FindsWhatAGpuWouldNotForgive) {
  const torch::Tensor here = torch::arange(4, torch::kFloat64), there = here.to(pretend_gpu());
  EXPECT_TRUE(torch::equal((2 * there.view({2, 2}).t() + 1).cpu(), 2 * here.view({2, 2}).t() + 1));
  EXPECT_EQ(there.sum().item<double>(), 6);
  EXPECT_THROW(there + here, c10::Error);
  EXPECT_THROW(there.index_select(0, torch::zeros({1}, torch::kInt64)), c10::Error);
  EXPECT_THROW(torch::nll_loss2d(there.view({1, 4, 1, 1}), torch::zeros({1, 1, 1}, torch::kInt64).to(pretend_gpu())),
               c10::Error);
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);  // MPI's own handler would tell of it
    _exit(there.data_ptr<double>()[1] == 1 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << status;
}

TEST_F(PretendGpu, Trains) {
  test::expect_equal_training(pretend_gpu(), /*sharded=*/false);
}

TEST_F(PretendGpu, TrainsOnAShardedLibrary) {
  test::expect_equal_training(pretend_gpu(), /*sharded=*/true);
}

TEST_F(PretendGpu, Scores) {
  test::expect_equal_scores(pretend_gpu());
}

TEST_F(PretendGpu, Selects) {
  test::expect_equal_selections(pretend_gpu(), /*sharded=*/false);
}

TEST_F(PretendGpu, SelectsFromAShardedLibrary) {
  test::expect_equal_selections(pretend_gpu(), /*sharded=*/true);
}

TEST_F(PretendGpu, TrainsTheTinyLvlm) {
  test::expect_like_lvlm_training(pretend_gpu());
}

}  // namespace
}  // namespace saber
