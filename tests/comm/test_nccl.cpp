// The NCCL backend, in builds that have it. The tests called Gpu need a GPU for each rank.
#include "comm/nccl_group.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "comm/agreed_error.h"
#include "comm/own_device.h"
#include "comm/process_group.h"
#include "tests/comm/mpi_world.h"

namespace saber {
namespace {

using test::mpi_world;
using Tensors = std::vector<at::Tensor>;

std::int64_t visible_gpus() {
  return static_cast<std::int64_t>(torch::cuda::device_count());
}

// Goes through libtorch_cuda into NCCL, neither of which needs a GPU for that.
TEST(Nccl, TheLibraryIsTheOneOfTheHeaders) {
  EXPECT_EQ(nccl_version(), SABER_NCCL_VERSION);
}

TEST(Nccl, WithoutAGpuAutoIsTheCpu) {
  if (visible_gpus() > 0) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_TRUE(own_device(mpi_world(), "auto").is_cpu());
}

TEST(Nccl, WithoutAGpuAllRanksLeaveWithOneMessage) {
  if (visible_gpus() > 0) GTEST_SKIP() << "this machine has a GPU";
  try {
    own_device(mpi_world(), "cuda");
    FAIL() << "no error";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_available);
    EXPECT_EQ(error.exit_status(), 2);
    const std::string ranks = mpi_world().world_size() == 1 ? "rank 0" : "ranks 0 and 1";
    EXPECT_EQ(error.message(), "no GPU is visible to " + ranks + " on " + mpi_world().host());
    EXPECT_NE(error.hint().find("set device to cpu"), std::string::npos);
    EXPECT_EQ(error.reported_elsewhere(), !mpi_world().is_root());
  }
}

class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    if (visible_gpus() < world_) GTEST_SKIP() << "wants " << world_ << " GPUs, sees " << visible_gpus();
    device_ = own_device(mpi_world(), "cuda");
    group_ = make_process_group(mpi_world(), {"nccl"}, device_);
    options_ = at::TensorOptions(device_).dtype(at::kFloat);
  }

  const std::int64_t rank_ = mpi_world().rank();
  const std::int64_t world_ = mpi_world().world_size();
  at::Device device_ = at::kCPU;
  ProcessGroupPtr group_;
  at::TensorOptions options_;
};

TEST_F(Gpu, IsTheCurrentOneAndDeterministic) {
  EXPECT_EQ(at::ones({1}, at::kCUDA).device(), device_);
  EXPECT_STREQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), ":4096:8");
}

TEST_F(Gpu, AllReduce) {
  at::Tensor tensor = at::arange(1000, options_).add(static_cast<double>(rank_));
  all_reduce_sum(*group_, tensor);
  const auto ranks = static_cast<double>(world_ * (world_ - 1) / 2);
  EXPECT_TRUE(at::equal(tensor.cpu(), at::arange(1000).to(at::kFloat).mul(world_).add(ranks)));
}

TEST_F(Gpu, BroadcastFromEachRank) {
  for (std::int64_t root = 0; root < world_; ++root) {
    Tensors tensors{at::full({33}, static_cast<double>(rank_ + 5), options_)};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    group_->broadcast(tensors, options)->wait();
    EXPECT_TRUE(at::equal(tensors[0].cpu(), at::full({33}, static_cast<float>(root + 5))));
  }
}

TEST_F(Gpu, AllGather) {
  at::Tensor mine = at::arange(7, options_).add(static_cast<double>(100 * rank_));
  at::Tensor all = at::zeros({world_, 7}, options_);
  group_->_allgather_base(all, mine)->wait();
  for (std::int64_t r = 0; r < world_; ++r) {
    EXPECT_TRUE(at::equal(all[r].cpu(), at::arange(7).to(at::kFloat).add(100 * r)));
  }
}

TEST_F(Gpu, ReduceScatter) {
  // Row q of rank r holds 10 q + j + 1000 r; rank q gets the sum of all rows q.
  at::Tensor input = at::arange(world_, options_).mul(10).unsqueeze(1).add(at::arange(5, options_)).contiguous();
  input.add_(static_cast<double>(1000 * rank_));
  at::Tensor output = at::zeros({5}, options_);
  group_->_reduce_scatter_base(output, input)->wait();
  const auto others = static_cast<double>(1000 * world_ * (world_ - 1) / 2);
  const at::Tensor wanted = at::arange(5).to(at::kFloat).add(static_cast<double>(10 * rank_)).mul(world_).add(others);
  EXPECT_TRUE(at::equal(output.cpu(), wanted)) << output;
}

TEST_F(Gpu, BarrierOnEitherSide) {
  c10d::BarrierOptions on_gpu;
  on_gpu.device = group_->getBoundDeviceId();
  EXPECT_TRUE(group_->barrier(on_gpu)->wait());
  EXPECT_TRUE(group_->barrier()->wait());
}

TEST_F(Gpu, MessagesGoByWayOfItsMemory) {
  MessageGather gather(*group_, *group_->getBoundDeviceId());
  const std::span<double> mine = gather.prepare<double>(3);
  mine[0] = 0.1 * static_cast<double>(rank_);
  gather.gather<double>(1);
  for (std::int64_t r = 0; r < world_; ++r) {
    ASSERT_EQ(gather.of_rank<double>(r).size(), 1U);
    EXPECT_EQ(gather.of_rank<double>(r)[0], 0.1 * static_cast<double>(r));
  }
}

TEST_F(Gpu, TensorsOnTheCpuGoOverMpi) {
  const auto all = all_gather_values(*group_, std::vector<std::int64_t>{rank_, 10 * rank_}, 2);
  for (std::int64_t r = 0; r < world_; ++r) {
    EXPECT_EQ(all[static_cast<std::size_t>(r)], (std::vector<std::int64_t>{r, 10 * r}));
  }
}

TEST_F(Gpu, ASecondGroupMeetsAnew) {
  const ProcessGroupPtr second = make_process_group(mpi_world(), {.backend = "nccl", .interface = "lo"}, device_);
  at::Tensor one = at::ones({1}, options_);
  all_reduce_sum(*second, one);
  EXPECT_EQ(one.item<float>(), static_cast<float>(world_));
}

TEST(GpuShared, TwoRanksOnOneGpuAreRefused) {
  if (visible_gpus() != 1 || mpi_world().world_size() == 1) GTEST_SKIP() << "wants one GPU and several ranks";
  try {
    own_device(mpi_world(), "cuda");
    FAIL() << "no error";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_available);
    EXPECT_NE(error.message().find("ranks 0 and 1 on " + mpi_world().host() + " hold GPU-"), std::string::npos);
    EXPECT_EQ(error.reported_elsewhere(), !mpi_world().is_root());
  }
}

}  // namespace
}  // namespace saber
