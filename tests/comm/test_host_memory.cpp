#include "comm/host_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/agreed_error.h"
#include "comm/process_group.h"
#include "tests/comm/mpi_world.h"

namespace saber {
namespace {

using test::mpi_world;

// While it lives, no file of this rank, in shared memory included, may grow beyond 1 MB, if `here`.
class NoRoom {
 public:
  explicit NoRoom(bool here) : here_(here), handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{1 << 20, before_.rlim_max};
    if (here_) setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~NoRoom() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  NoRoom(const NoRoom&) = delete;
  NoRoom& operator=(const NoRoom&) = delete;

 private:
  bool here_;
  void (*handler_)(int);
  rlimit before_{};
};

bool name_is_left() {
  const std::string ours = "saber-" + std::to_string(getpid()) + "-";
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    if (entry.path().filename().string().starts_with(ours)) return true;
  }
  return false;
}

class HostMemoryTest : public testing::Test {
 protected:
  const int rank_ = mpi_world().rank(), world_ = mpi_world().world_size();
  const int last_ = mpi_world().world_size() - 1;
};

TEST_F(HostMemoryTest, EveryRankSeesEveryBlock) {
  HostMemory memory(mpi_world(), 3 * sizeof(double));
  EXPECT_FALSE(name_is_left());
  auto* const mine = reinterpret_cast<double*>(memory.block(rank_));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(mine[i], 0);
  mpi_world().barrier();
  auto* const next = static_cast<double*>(memory.counterpart(mine + 1, (rank_ + 1) % world_));
  *next = 10 + rank_;
  mpi_world().barrier();
  EXPECT_EQ(mine[1], 10 + (rank_ + last_) % world_);
  EXPECT_TRUE(memory.holds(mine) && memory.holds(mine + 2));
  EXPECT_FALSE(memory.holds(mine - 1) || memory.holds(mine + 3) || memory.holds(&memory));
}

TEST_F(HostMemoryTest, ATurnIsDoneWhenAllRanksHaveDoneIt) {
  HostMemory memory(mpi_world(), 8);
  if (rank_ != last_) memory.offer();
  mpi_world().barrier();
  EXPECT_FALSE(memory.may_begin(1)) << "the last rank has offered nothing";
  mpi_world().barrier();
  if (rank_ == last_) memory.offer();
  mpi_world().barrier();
  EXPECT_TRUE(memory.may_begin(1));
  if (rank_ != 0) memory.finish(1);
  mpi_world().barrier();
  EXPECT_FALSE(memory.all_finished(1)) << "rank 0 has not finished";
  mpi_world().barrier();
  if (rank_ == 0) memory.finish(1);
  mpi_world().barrier();
  EXPECT_TRUE(memory.all_finished(1));
  EXPECT_FALSE(memory.all_finished(2) || memory.may_begin(2));
}

TEST_F(HostMemoryTest, ARankTakesTurnsInOrder) {
  HostMemory memory(mpi_world(), 8);
  memory.offer();
  memory.offer();
  mpi_world().barrier();
  EXPECT_FALSE(memory.may_begin(2)) << "the first is not finished";
  EXPECT_THROW(memory.finish(2), Error);
  memory.finish(1);
  EXPECT_TRUE(memory.may_begin(2));
}

TEST_F(HostMemoryTest, WhereOneRankHasNoRoomAllAreTold) {
  const NoRoom limit(rank_ == last_);
  try {
    const HostMemory memory(mpi_world(), 4 << 20);
    ADD_FAILURE() << "no error";
  } catch (const AgreedError& error) {
    EXPECT_STREQ(error.what(), "/dev/shm: posix_fallocate: File too large");
  }
  EXPECT_FALSE(name_is_left());
}

// Sums of values in shared memory.
class SharedSums : public HostMemoryTest {
 protected:
  const ProcessGroupPtr group_ = make_process_group(mpi_world(), {});

  // Numbers of many magnitudes: another order of summation would round to other bits.
  static at::Tensor values_of(int rank, std::int64_t elements, std::int64_t salt) {
    const at::Tensor j = at::arange(elements, at::kDouble);
    return (at::sin(j * 17 + rank * 1009 + salt) * at::exp2((j + rank * 7).remainder(24))).to(at::kFloat);
  }
  at::Tensor sum(std::int64_t elements, std::int64_t salt) const {
    at::Tensor total = values_of(0, elements, salt);
    for (int r = 1; r < world_; ++r) total.add_(values_of(r, elements, salt));
    return total;
  }
};

TEST_F(SharedSums, EqualThoseOfMessagesToTheBit) {
  for (const std::int64_t elements : {1, 2, 5, 1000, 32'768, 200'001}) {
    at::Tensor shared = zeros_to_sum(*group_, elements, at::kFloat), other = values_of(rank_, elements, 0);
    EXPECT_TRUE(at::equal(shared, at::zeros({elements})));
    shared.copy_(other);
    all_reduce_sum(*group_, shared);
    all_reduce_sum(*group_, other);
    EXPECT_TRUE(at::equal(shared, other)) << elements;
    EXPECT_TRUE(at::equal(shared, sum(elements, 0))) << elements;
  }
}

TEST_F(SharedSums, OfEveryKindAndType) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kLong, at::kInt, at::kByte}) {
    const at::Tensor shared = zeros_to_sum(*group_, 7, type);
    ASSERT_EQ(shared.scalar_type(), type);
    for (const auto& [kind, wanted] : {std::pair(c10d::ReduceOp::SUM, world_ * (world_ + 1) / 2),
                                       std::pair(c10d::ReduceOp::MAX, world_), std::pair(c10d::ReduceOp::MIN, 1)}) {
      shared.fill_(rank_ + 1);
      std::vector<at::Tensor> tensors{shared};
      c10d::AllreduceOptions options;
      options.reduceOp = kind;
      group_->allreduce(tensors, options)->wait();
      EXPECT_TRUE((shared == wanted).all().item<bool>());
    }
  }
}

// Parts of one memory, in any order, between messages and parts of another, many at once.
TEST_F(SharedSums, OfPartsWhileOthersAreOnTheirWay) {
  constexpr std::int64_t kPart = 10'001;
  const at::Tensor one = zeros_to_sum(*group_, 10 * kPart, at::kFloat), two = zeros_to_sum(*group_, kPart, at::kFloat);
  for (int step = 0; step < 3; ++step) {
    std::vector<at::Tensor> parts;
    for (const int i : {9, 3, 4, 0, 8, 7, 1, 2, 6, 5}) parts.push_back(one.narrow(0, i * kPart, kPart));
    parts.insert(parts.begin() + 2, two);
    parts.insert(parts.begin() + 5, at::empty({kPart}));
    std::vector<c10::intrusive_ptr<c10d::Work>> work;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      parts[i].copy_(values_of(rank_, kPart, static_cast<std::int64_t>(i) + 100 * step));
      work.push_back(start_all_reduce_sum(*group_, parts[i]));
    }
    for (std::size_t i = 0; i < parts.size(); ++i) {
      work[i]->wait();
      EXPECT_TRUE(at::equal(parts[i], sum(kPart, static_cast<std::int64_t>(i) + 100 * step))) << i;
    }
  }
}

TEST_F(SharedSums, MemoryThatIsGoneIsForgotten) {
  zeros_to_sum(*group_, 3, at::kFloat);
  at::Tensor next = zeros_to_sum(*group_, 3, at::kFloat);  // may lie where the first one lay
  next.fill_(rank_ + 1);
  all_reduce_sum(*group_, next);
  EXPECT_TRUE((next == world_ * (world_ + 1) / 2).all().item<bool>());
}

TEST_F(SharedSums, WithoutRoomTheyTravel) {
  at::Tensor values;
  {
    const NoRoom limit(rank_ == last_);
    values = zeros_to_sum(*group_, 1 << 20, at::kFloat);
  }
  values.fill_(rank_ + 1);
  all_reduce_sum(*group_, values);
  EXPECT_TRUE((values == world_ * (world_ + 1) / 2).all().item<bool>());
}

TEST_F(SharedSums, TheMemoryOutlivesItsGroup) {
  at::Tensor values;
  {
    const ProcessGroupPtr group = make_process_group(mpi_world(), {});
    values = zeros_to_sum(*group, 1000, at::kFloat);
    values.fill_(rank_ + 1);
    all_reduce_sum(*group, values);
  }
  EXPECT_TRUE((values == world_ * (world_ + 1) / 2).all().item<bool>());
}

}  // namespace
}  // namespace saber
