#include "comm/mpi_order_check.h"

#include <gtest/gtest.h>

#include "comm/process_group.h"
#include "core/error.h"
#include "tests/comm/mpi_world.h"

namespace saber {
namespace {

using test::mpi_world;

TEST(OrderCheck, RanksThatDisagreeGetAnErrorInsteadOfAHang) {
  const MpiSession& world = mpi_world();
  const ProcessGroupPtr group = make_process_group(world, {});
  check_order_of_operations(world);
  at::Tensor tensor = at::ones({4}), longer = at::ones({5});
  all_reduce_sum(*group, tensor);  // all alike
  world.on_root([] { return std::string(); });
  const bool last = world.rank() + 1 == world.world_size();
  if (world.world_size() > 1) {
    try {
      last ? broadcast_from_root(*group, tensor) : all_reduce_sum(*group, tensor);
      FAIL() << "no error";
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("rank 0 begins all-reduce #"), std::string::npos) << text;
      EXPECT_NE(text.find(" begins broadcast #"), std::string::npos) << text;
      EXPECT_NE(text.find("(16 bytes Float)"), std::string::npos) << text;
    }
    EXPECT_THROW(all_reduce_sum(*group, last ? longer : tensor), Error);
  }
  all_reduce_sum(*group, tensor);
  world.operations().set_check(nullptr);
}

}  // namespace
}  // namespace saber
