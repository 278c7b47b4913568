// All-reduces that go on while the rank computes.
#include "comm/mpi_reductions.h"

#include <gtest/gtest.h>

#include "tests/comm/mpi_world.h"

namespace saber {
namespace {

using test::mpi_world;

double of_all_ranks(double mine) {
  const auto world = static_cast<double>(mpi_world().world_size());
  return mine * world * (world + 1) / 2;
}

// Many at once, of sizes that take one round, two rounds and several chunks, and none.
TEST(Reductions, ManyInFlightFinishInOrder) {
  MpiReductions reductions(mpi_world().rank(), mpi_world().world_size(), /*chunk_elements=*/50'000);
  std::vector<at::Tensor> tensors;
  std::vector<std::int64_t> tickets;
  for (int i = 0; i < 40; ++i) {
    const std::int64_t elements = std::vector<std::int64_t>{3, 30'000, 120'001, 0, 1}[static_cast<std::size_t>(i % 5)];
    tensors.push_back(at::full({elements}, static_cast<double>((mpi_world().rank() + 1) * (i + 1)), at::kDouble));
    tickets.push_back(reductions.start(Exchange::all_reduce, tensors.back(), ReduceKind::SUM));
  }
  reductions.finish(tickets[20]);
  for (int i = 0; i <= 20; ++i) EXPECT_TRUE(reductions.finished(tickets[static_cast<std::size_t>(i)])) << i;
  reductions.finish(tickets.back());
  for (std::size_t i = 0; i < tensors.size(); ++i)
    EXPECT_TRUE((tensors[i] == of_all_ranks(static_cast<double>(i + 1))).all().item<bool>()) << i;
}

TEST(Reductions, ProgressAloneFinishesThem) {
  MpiReductions reductions(mpi_world().rank(), mpi_world().world_size(), 1 << 20);
  const at::Tensor tensor = at::full({200'000}, static_cast<double>(mpi_world().rank() + 1));
  const std::int64_t ticket = reductions.start(Exchange::all_reduce, tensor, ReduceKind::SUM);
  while (!reductions.finished(ticket)) reductions.progress();
  EXPECT_EQ(tensor[199'999].item<double>(), of_all_ranks(1));
}

}  // namespace
}  // namespace saber
