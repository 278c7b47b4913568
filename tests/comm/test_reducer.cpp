// The gradient engine of data parallel training, c10d::Reducer, over our group.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <torch/csrc/distributed/c10d/reducer.hpp>

#include "comm/process_group.h"
#include "tests/comm/mpi_world.h"

namespace saber {
namespace {

using test::mpi_world;

TEST(Reducer, AveragesGradientsOverRanks) {
  const ProcessGroupPtr group = make_process_group(mpi_world(), {"mpi"});
  const at::Tensor weight = at::ones({3, 2}).requires_grad_();
  const at::Tensor bias = at::zeros({3}).requires_grad_();
  const std::vector<std::vector<std::size_t>> buckets{{1}, {0}};
  c10d::Reducer reducer({weight, bias}, buckets, group, {false, false}, c10d::kDefaultBucketBytesCap, false, true, {},
                        c10d::kDefaultFirstBucketBytes, false, false, {});
  // loss = sum(x W^T + b) with x = r + 1: the gradient of each weight is r + 1, of each bias 1.
  const double mean = (mpi_world().world_size() + 1) / 2.0;
  for (int step = 0; step < 2; ++step) {
    const at::Tensor input = at::full({1, 2}, static_cast<double>(mpi_world().rank() + 1));
    reducer.prepare_for_forward();
    const at::Tensor loss = at::addmm(bias, input, weight.t()).sum();
    reducer.prepare_for_backward({loss});
    loss.backward();
    EXPECT_TRUE(at::equal(weight.grad(), at::full({3, 2}, mean))) << weight.grad();
    EXPECT_TRUE(at::equal(bias.grad(), at::ones({3}))) << bias.grad();
    weight.mutable_grad().zero_();
    bias.mutable_grad().zero_();
  }
}

}  // namespace
}  // namespace saber
