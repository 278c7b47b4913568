#include "comm/process_group.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/mpi_backend.h"
#include "core/error.h"
#include "tests/comm/mpi_world.h"

namespace saber {
namespace {

using test::mpi_world;
using Tensors = std::vector<at::Tensor>;

// The parameter is the chunk size: with a few elements every operation needs many MPI calls.
class Collectives : public testing::TestWithParam<std::int64_t> {
 protected:
  const std::int64_t rank_ = mpi_world().rank();
  const std::int64_t world_ = mpi_world().world_size();
  const c10::intrusive_ptr<c10d::Backend> backend_ = make_mpi_backend(mpi_world(), GetParam());

  at::Tensor reduced(at::Tensor tensor, c10d::ReduceOp::RedOpType op) const {
    Tensors tensors{tensor};
    c10d::AllreduceOptions options;
    options.reduceOp = op;
    const auto work = backend_->allreduce(tensors, options);
    EXPECT_TRUE(work->wait());
    EXPECT_TRUE(work->isCompleted());
    return tensor;
  }
};

TEST_P(Collectives, AllReduceOfEveryType) {
  using Op = c10d::ReduceOp;
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kLong, at::kInt, at::kByte}) {
    // Element j of rank r is (r + 1) * j modulo 13, which all types hold.
    const at::Tensor base = at::arange(10, at::kLong);
    at::Tensor sum = at::zeros({10}, at::kLong), most = sum.clone(), least = at::full({10}, 99, at::kLong);
    for (std::int64_t r = 0; r < world_; ++r) {
      const at::Tensor values = base.mul(r + 1).remainder(13);
      sum = sum + values;
      most = at::maximum(most, values);
      least = at::minimum(least, values);
    }
    const at::Tensor mine = base.mul(rank_ + 1).remainder(13).to(type);
    EXPECT_TRUE(at::equal(reduced(mine.clone(), Op::SUM), sum.to(type)));
    EXPECT_TRUE(at::equal(reduced(mine.clone(), Op::MAX), most.to(type)));
    EXPECT_TRUE(at::equal(reduced(mine.clone(), Op::MIN), least.to(type)));
  }
}

TEST_P(Collectives, AllReduceOfSizesAroundChunksAndRanks) {
  for (std::int64_t size = 0; size < 20; ++size) {
    const at::Tensor total = reduced(at::full({size}, static_cast<double>(rank_ + 1)), c10d::ReduceOp::SUM);
    EXPECT_TRUE(at::equal(total, at::full({size}, static_cast<double>(world_ * (world_ + 1) / 2)))) << size;
  }
}

TEST_P(Collectives, SumsInRankOrderWhateverTheChunk) {
  // Numbers of many magnitudes: another order of summation would round to other bits.
  const auto value = [](std::int64_t r, std::int64_t j) {
    return std::sin(static_cast<float>(r * 1009 + j * 17)) * std::ldexp(1.0F, static_cast<int>((r * 7 + j) % 24));
  };
  constexpr std::int64_t kSize = 101;
  at::Tensor tensor = at::empty({kSize}), expected = at::empty({kSize});
  for (std::int64_t j = 0; j < kSize; ++j) {
    tensor[j] = value(rank_, j);
    float sum = value(0, j);
    for (std::int64_t r = 1; r < world_; ++r) sum += value(r, j);
    expected[j] = sum;
  }
  EXPECT_TRUE(at::equal(reduced(tensor, c10d::ReduceOp::SUM), expected));
}

TEST_P(Collectives, TheFutureHoldsTheTensors) {
  Tensors tensors{at::ones({3})};
  const auto future = backend_->allreduce(tensors, {})->getFuture();
  ASSERT_TRUE(future->completed());
  const auto held = future->value().toTensorVector();
  ASSERT_EQ(held.size(), 1U);
  EXPECT_TRUE(held[0].is_same(tensors[0]));
}

TEST_P(Collectives, BroadcastFromAnyRankAndAnyType) {
  for (std::int64_t root = 0; root < world_; ++root) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kByte, at::kLong, at::kBool}) {
      const at::Tensor wanted = at::arange(11).remainder(5).to(type);
      Tensors tensors{rank_ == root ? wanted.clone() : at::zeros({11}, type)};
      c10d::BroadcastOptions options;
      options.rootRank = root;
      backend_->broadcast(tensors, options)->wait();
      EXPECT_TRUE(at::equal(tensors[0], wanted));
    }
  }
}

TEST_P(Collectives, AllGather) {
  at::Tensor mine = at::arange(7, at::kInt).add(100 * rank_);
  at::Tensor joined = at::zeros({world_, 7}, at::kInt);
  backend_->_allgather_base(joined, mine, {})->wait();
  at::Tensor in_place = at::zeros({world_, 7}, at::kInt), own = in_place[rank_];
  own.copy_(mine);
  backend_->_allgather_base(in_place, own, {})->wait();
  for (std::int64_t r = 0; r < world_; ++r) EXPECT_TRUE(at::equal(joined[r], at::arange(7, at::kInt).add(100 * r)));
  EXPECT_TRUE(at::equal(in_place, joined));
}

TEST_P(Collectives, ReduceScatter) {
  // Row q of rank r holds 10 q + j + 1000 r; rank q gets the sum of all rows q.
  at::Tensor input = at::arange(world_, at::kDouble).mul(10).unsqueeze(1).add(at::arange(5)).add(1000 * rank_);
  input = input.contiguous();
  const at::Tensor before = input.clone();
  at::Tensor output = at::zeros({5}, at::kDouble);
  backend_->_reduce_scatter_base(output, input, {})->wait();
  EXPECT_TRUE(at::equal(input, before));
  const double others = 1000.0 * static_cast<double>(world_ * (world_ - 1)) / 2;
  const at::Tensor wanted =
      at::arange(5, at::kDouble).add(static_cast<double>(10 * rank_)).mul(static_cast<double>(world_)).add(others);
  EXPECT_TRUE(at::equal(output, wanted));

  at::Tensor own = input[rank_];
  backend_->_reduce_scatter_base(own, input, {})->wait();
  EXPECT_TRUE(at::equal(input[rank_], wanted));
}

TEST_P(Collectives, AllToAllOfUnevenRows) {
  // Rank r sends s + 1 rows to rank s; each row says from whom to whom.
  std::vector<std::int64_t> input_rows, output_rows(static_cast<std::size_t>(world_), rank_ + 1);
  std::vector<at::Tensor> rows;
  for (std::int64_t s = 0; s < world_; ++s) {
    input_rows.push_back(s + 1);
    for (std::int64_t i = 0; i <= s; ++i)
      rows.push_back(at::tensor({static_cast<double>(rank_), static_cast<double>(s), static_cast<double>(i)}));
  }
  at::Tensor input = at::stack(rows), output = at::zeros({world_ * (rank_ + 1), 3}, at::kDouble);
  input = input.to(at::kDouble);
  backend_->alltoall_base(output, input, output_rows, input_rows, {})->wait();
  for (std::int64_t r = 0, row = 0; r < world_; ++r) {
    for (std::int64_t i = 0; i <= rank_; ++i, ++row) {
      const at::Tensor wanted =
          at::tensor({static_cast<double>(r), static_cast<double>(rank_), static_cast<double>(i)}).to(at::kDouble);
      EXPECT_TRUE(at::equal(output[row], wanted)) << output[row];
    }
  }
  input_rows[0] += 1;
  EXPECT_THROW(backend_->alltoall_base(output, input, output_rows, input_rows, {}), Error);
}

TEST_P(Collectives, RefusesWhatItCannotCarry) {
  Tensors bf16{at::ones({2}, at::kBFloat16)};
  Tensors strided{at::ones({4, 4}).t()};
  Tensors elsewhere{at::empty({2}, at::device(at::kMeta))};
  Tensors two{at::ones({1}), at::ones({1})};
  c10d::AllreduceOptions product;
  product.reduceOp = c10d::ReduceOp::PRODUCT;
  Tensors good{at::ones({2})};
  at::Tensor short_output = at::ones({2 * world_ - 1});
  EXPECT_THROW(backend_->allreduce(bf16, {}), Error);
  EXPECT_THROW(backend_->allreduce(strided, {}), Error);
  EXPECT_THROW(backend_->allreduce(elsewhere, {}), Error);
  EXPECT_THROW(backend_->allreduce(two, {}), Error);
  EXPECT_THROW(backend_->allreduce(good, product), Error);
  EXPECT_THROW(backend_->broadcast(strided, {}), Error);
  EXPECT_THROW(backend_->_allgather_base(short_output, good[0], {}), Error);
  EXPECT_THROW(backend_->_reduce_scatter_base(good[0], short_output, {}), Error);
}

INSTANTIATE_TEST_SUITE_P(Chunks, Collectives, testing::Values(1, 3, 8, kMpiChunkElements));

TEST(MpiBackend, RefusesChunksBeyondMpisCounts) {
  EXPECT_THROW(make_mpi_backend(mpi_world(), 0), Error);
  EXPECT_THROW(make_mpi_backend(mpi_world(), (std::int64_t{1} << 28) + 1), Error);
}

class Group : public testing::Test {
 protected:
  const std::int64_t rank_ = mpi_world().rank();
  const std::int64_t world_ = mpi_world().world_size();
  const ProcessGroupPtr group_ = make_process_group(mpi_world(), {"auto"});
};

TEST_F(Group, TheBackendFollowsTheDevice) {
  const at::Device gpu(at::kCUDA, 1);
  for (const std::string backend : {"auto", "mpi"}) EXPECT_FALSE(travels_over_nccl(backend, at::kCPU));
  for (const std::string backend : {"auto", "nccl"}) EXPECT_TRUE(travels_over_nccl(backend, gpu));
  const auto refused = [](const std::string& backend, const at::Device& device) {
    try {
      travels_over_nccl(backend, device);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_status(), 2);
      EXPECT_EQ(error.place(), "comm.backend: " + backend);
      EXPECT_NE(error.hint().find("set comm.backend to auto"), std::string::npos);
      return error.message();
    }
    return std::string("no error");
  };
  EXPECT_EQ(refused("nccl", at::kCPU), "carries tensors between GPUs, but the run computes on the CPU");
  EXPECT_EQ(refused("mpi", gpu), "carries tensors on the CPU, but the run computes on cuda:1");
  EXPECT_THROW(make_process_group(mpi_world(), {"nccl"}), Error);
}

TEST_F(Group, SettingsOfferThreeBackends) {
  CommSettings settings;
  Schema schema;
  settings.declare(schema);
  EXPECT_EQ(settings.backend, "auto");
  schema.assign("comm.backend=mpi");
  EXPECT_EQ(settings.backend, "mpi");
  EXPECT_EQ(settings.interface, "");
  schema.assign("comm.interface=eth0");
  EXPECT_EQ(settings.interface, "eth0");
  EXPECT_THROW(schema.assign("comm.backend=gloo"), Error);
}

TEST_F(Group, SumsBroadcastsAndMeetsThroughC10d) {
  at::Tensor tensor = at::full({2, 3}, static_cast<double>(rank_ + 1));
  all_reduce_sum(*group_, tensor);
  EXPECT_TRUE(at::equal(tensor, at::full({2, 3}, static_cast<double>(world_ * (world_ + 1) / 2))));
  at::Tensor values = at::full({4}, static_cast<double>(rank_ + 5));
  broadcast_from_root(*group_, values);
  EXPECT_TRUE(at::equal(values, at::full({4}, 5.0)));
  EXPECT_TRUE(group_->barrier()->wait());
}

TEST_F(Group, GathersBytesOfAnyLength) {
  // Rank r gives 3 r bytes, so that rank 0 gives none.
  std::vector<std::uint16_t> mine(static_cast<std::size_t>(3 * rank_), static_cast<std::uint16_t>(1000 + rank_));
  const auto all = all_gather_values(*group_, mine, 3 * world_);
  ASSERT_EQ(static_cast<std::int64_t>(all.size()), world_);
  for (std::int64_t r = 0; r < world_; ++r) {
    const std::vector<std::uint16_t> wanted(static_cast<std::size_t>(3 * r), static_cast<std::uint16_t>(1000 + r));
    EXPECT_EQ(all[static_cast<std::size_t>(r)], wanted);
  }
  const auto empty = all_gather_values(*group_, std::vector<double>(), 0);
  ASSERT_EQ(static_cast<std::int64_t>(empty.size()), world_);
  for (const auto& values : empty) EXPECT_TRUE(values.empty());
  EXPECT_THROW(all_gather_values(*group_, std::vector<double>{1, 2}, 1), Error);
}

}  // namespace
}  // namespace saber
