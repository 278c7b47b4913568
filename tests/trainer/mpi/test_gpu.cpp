// One GPU per rank against the CPU.
#include <gtest/gtest.h>

#include "comm/cuda.h"
#include "comm/own_device.h"
#include "tests/trainer/mpi/device_checks.h"
#include "trainer/model/precision.h"

namespace saber {
namespace {

class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    if (num_visible_gpus() < test::mpi_world().world_size()) {
      GTEST_SKIP() << "wants " << test::mpi_world().world_size() << " GPUs, sees " << num_visible_gpus();
    }
    device_ = own_device(test::mpi_world(), "cuda");
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
    at::globalContext().setAllowTF32CuBLAS(false);
    at::globalContext().setAllowTF32CuDNN(false);
  }
  void TearDown() override { at::globalContext().setDeterministicAlgorithms(false, /*warn_only=*/false); }

  torch::Device device_ = torch::kCPU;
};

TEST_F(Gpu, Trains) {
  test::expect_equal_training(device_, /*sharded=*/false);
}

TEST_F(Gpu, TrainsOnAShardedLibrary) {
  test::expect_equal_training(device_, /*sharded=*/true);
}

TEST_F(Gpu, TwoRunsGiveEqualBits) {
  const auto trained = [&] {
    test::World world({"listwise 3 steps", "reinforce 3 steps"}, torch::kFloat32, false, device_);
    Trainer trainer = world.trainer(world.model());
    test::Replay replay;
    replay.go(trainer, 6);
    return replay;
  };
  const test::Replay first = trained(), second = trained();
  EXPECT_EQ(first.losses, second.losses);
  EXPECT_EQ(first.state, second.state);
}

TEST_F(Gpu, Bf16StaysNearFloat32) {
  const auto losses = [&](bool bf16) {
    test::World world({"listwise 3 steps", "imitate 3 steps"}, torch::kFloat32, true, device_);
    world.options.bf16 = bf16;
    Trainer trainer = world.trainer(world.model());
    std::vector<double> out;
    for (int i = 0; i < 6; ++i) out.push_back(trainer.step().loss);
    return out;
  };
  const std::vector<double> wanted = losses(false), found = losses(true);
  EXPECT_NE(found, wanted);
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(found[i], wanted[i], 0.02 * std::abs(wanted[i]));
}

TEST_F(Gpu, Scores) {
  test::expect_equal_scores(device_);
}

TEST_F(Gpu, Selects) {
  test::expect_equal_selections(device_, /*sharded=*/false);
  test::expect_equal_selections(device_, /*sharded=*/true);
}

TEST_F(Gpu, TrainsTheTinyLvlm) {
  test::expect_like_lvlm_training(device_);
}

}  // namespace
}  // namespace saber
