#include "comm/message_gather.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "comm/mpi_backend.h"
#include "comm/process_group.h"
#include "core/narrow.h"
#include "tests/comm/mpi_world.h"

namespace saber {
namespace {

using test::mpi_world;

struct Entry {
  std::int64_t sequence = 0;
  double reward = 0;
};

// Any backend but our own, as NCCL's is: what it carries are tensors.
class ForeignBackend : public c10d::Backend {
 public:
  explicit ForeignBackend(c10::intrusive_ptr<c10d::Backend> real)
      : Backend(real->getRank(), real->getSize()), real_(std::move(real)) {}
  const std::string getBackendName() const override { return "foreign"; }
  c10::intrusive_ptr<c10d::Work> _allgather_base(at::Tensor& output, at::Tensor& input,
                                                 const c10d::AllgatherOptions& options) override {
    return real_->_allgather_base(output, input, options);
  }

 private:
  c10::intrusive_ptr<c10d::Backend> real_;
};

ProcessGroupPtr group_of(const c10::intrusive_ptr<c10d::Backend>& backend) {
  auto group = c10::make_intrusive<c10d::ProcessGroup>(backend->getRank(), backend->getSize());
  group->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::BackendType::CUSTOM, backend);
  return group;
}

class Messages : public testing::TestWithParam<bool> {
 protected:
  const std::int64_t rank_ = mpi_world().rank(), world_ = mpi_world().world_size();
  const c10::intrusive_ptr<c10d::Backend> mpi_ = make_mpi_backend(mpi_world());
  const ProcessGroupPtr group_ =
      group_of(GetParam() ? c10::intrusive_ptr<c10d::Backend>(c10::make_intrusive<ForeignBackend>(mpi_)) : mpi_);
};

TEST_P(Messages, OfAnyLengthArriveExactly) {
  MessageGather gather(*group_);
  for (const std::int64_t most : {5, 3, 400, 0}) {  // memory is used again
    const std::int64_t count = most * rank_ / std::max<std::int64_t>(1, world_ - 1);
    const std::span<Entry> mine = gather.prepare<Entry>(most);
    ASSERT_EQ(size_of(mine), most);
    for (std::int64_t i = 0; i < count; ++i) mine[to_index(i)] = {100 * rank_ + i, 0.1 / static_cast<double>(i + 1)};
    gather.gather<Entry>(count);
    for (std::int64_t r = 0; r < world_; ++r) {
      const std::span<const Entry> theirs = gather.of_rank<Entry>(r);
      ASSERT_EQ(size_of(theirs), most * r / std::max<std::int64_t>(1, world_ - 1));
      for (std::int64_t i = 0; i < size_of(theirs); ++i) {
        EXPECT_EQ(theirs[to_index(i)].sequence, 100 * r + i);
        EXPECT_EQ(theirs[to_index(i)].reward, 0.1 / static_cast<double>(i + 1));
      }
    }
  }
}

TEST_P(Messages, ValuesOfThreeBytesKeepTheirNumber) {
  struct Odd {
    char bytes[3];
  };
  MessageGather gather(*group_);
  gather.prepare<Odd>(3)[0] = {{'a', 'b', static_cast<char>('0' + rank_)}};
  gather.gather<Odd>(1);
  for (std::int64_t r = 0; r < world_; ++r) {
    ASSERT_EQ(gather.of_rank<Odd>(r).size(), 1U);
    EXPECT_EQ(gather.of_rank<Odd>(r)[0].bytes[2], '0' + r);
  }
}

TEST_P(Messages, MoreThanWasPreparedForIsRefused) {
  MessageGather gather(*group_);
  gather.prepare<Entry>(2);
  EXPECT_THROW(gather.gather<Entry>(3), Error);
}

INSTANTIATE_TEST_SUITE_P(Carriers, Messages, testing::Bool(),
                         [](const auto& carrier) { return carrier.param ? "tensors" : "mpi"; });

TEST(CarrierOfRewards, IsTheCpuWithoutNccl) {
  const ProcessGroupPtr group = make_process_group(mpi_world(), {"mpi"});
  CommSettings settings;
  for (const char* choice : {"auto", "mpi"}) {
    settings.reward_gather = choice;
    EXPECT_TRUE(carrier_of_rewards(*group, settings).is_cpu());
  }
  settings.reward_gather = "nccl";
  EXPECT_THROW(carrier_of_rewards(*group, settings), Error);
}

TEST(CarrierOfRewards, FollowsTheBackendUnlessForced) {
  c10d::ProcessGroup group(0, 1);
  group.setBoundDeviceId(at::Device(at::kCUDA, 1));
  CommSettings settings;
  for (const char* choice : {"auto", "nccl"}) {
    settings.reward_gather = choice;
    EXPECT_EQ(carrier_of_rewards(group, settings), at::Device(at::kCUDA, 1));
  }
  settings.reward_gather = "mpi";
  EXPECT_TRUE(carrier_of_rewards(group, settings).is_cpu());
}

}  // namespace
}  // namespace saber
