#include "comm/device_choice.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "core/error.h"

namespace saber {
namespace {

using Ranks = std::vector<int>;

template <class Work>
Error error_of(Work work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_available);
    EXPECT_EQ(error.exit_status(), 2);
    EXPECT_EQ(error.place(), "device");
    EXPECT_NE(error.hint().find("cpu"), std::string::npos);
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorKind::internal, "");
}

TEST(DeviceChoice, TheSettingTheBuildAndTheGpusDecide) {
  const std::vector<VisibleGpus> none{{"a", 0, 0}, {"a", 1, 0}}, two{{"a", 0, 2}, {"a", 1, 2}};
  for (const bool in_build : {false, true}) {
    EXPECT_EQ(gpu_of("cpu", in_build, two, 1), std::nullopt);
    EXPECT_EQ(gpu_of("auto", in_build, none, 1), std::nullopt);
  }
  EXPECT_EQ(gpu_of("auto", false, two, 1), std::nullopt);
  for (const std::string setting : {"auto", "cuda"}) {
    EXPECT_EQ(gpu_of(setting, true, two, 0), 0);
    EXPECT_EQ(gpu_of(setting, true, two, 1), 1);
    EXPECT_EQ(gpu_of(setting, true, {{"a", 0, 1}}, 0), 0);
  }
}

TEST(DeviceChoice, CudaThatIsNotThereIsRefused) {
  EXPECT_EQ(error_of([] {
              gpu_of("cuda", false, {{"a", 0, 1}}, 0);
            }).message(),
            "is cuda, but this build has no CUDA parts");
  EXPECT_EQ(error_of([] { gpu_of("cuda", true, {{"a", 0, 0}}, 0); }).message(), "no GPU is visible to rank 0 on a");
}

TEST(DeviceChoice, NoRankIsLeftOnTheCpuWhereOthersHaveGpus) {
  const std::vector<VisibleGpus> ranks{{"a", 0, 1}, {"b", 0, 0}};
  for (int r = 0; r < 2; ++r)
    EXPECT_EQ(error_of([&] { gpu_of("auto", true, ranks, r); }).message(), "no GPU is visible to rank 1 on b");
}

TEST(DeviceChoice, LocalRankWhereSeveralAreVisible) {
  const std::vector<VisibleGpus> ranks{{"a", 0, 2}, {"b", 0, 2}, {"a", 1, 2}, {"b", 1, 4}};
  EXPECT_EQ(device_of(ranks, 0), 0);
  EXPECT_EQ(device_of(ranks, 1), 0);
  EXPECT_EQ(device_of(ranks, 2), 1);
  EXPECT_EQ(device_of(ranks, 3), 1);
}

TEST(DeviceChoice, TheOnlyOneWhereTheLauncherDealtThemOut) {
  const std::vector<VisibleGpus> ranks{{"a", 0, 1}, {"a", 1, 1}, {"a", 2, 1}};
  for (int r = 0; r < 3; ++r) EXPECT_EQ(device_of(ranks, r), 0);
}

TEST(DeviceChoice, RanksWithoutAGpuAreNamedByHostAndTheSameForAll) {
  const std::vector<VisibleGpus> ranks{{"b", 0, 0}, {"a", 0, 2}, {"b", 1, 0}, {"c", 0, 0}};
  const std::string wanted = "no GPU is visible to ranks 0 and 2 on b, rank 3 on c";
  for (int r = 0; r < 4; ++r) EXPECT_EQ(error_of([&] { device_of(ranks, r); }).message(), wanted);
}

TEST(DeviceChoice, RanksBeyondTheGpusAreNamed) {
  const std::vector<VisibleGpus> ranks{{"a", 0, 2}, {"a", 1, 2}, {"a", 2, 2}, {"a", 3, 2}};
  const Error error = error_of([&] { device_of(ranks, 0); });
  EXPECT_NE(error.message().find("none is left for ranks 2 and 3 on a"), std::string::npos) << error.message();
}

TEST(DeviceChoice, OfManyRanksTheFirstAreNamed) {
  std::vector<VisibleGpus> ranks;
  for (int r = 0; r < 100; ++r) ranks.push_back({"a", r, 0});
  const Error error = error_of([&] { device_of(ranks, 0); });
  EXPECT_EQ(error.message(), "no GPU is visible to ranks 0, 1, 2, 3, 4, 5, 6, 7 and 92 more on a");
}

TEST(DeviceChoice, FindsRanksThatShareAGpu) {
  EXPECT_TRUE(ranks_sharing_a_gpu({{"a", "GPU-1"}, {"a", "GPU-2"}, {"b", "GPU-1"}}).empty());
  const std::vector<HeldGpu> ranks{{"a", "GPU-2"}, {"a", "GPU-1"}, {"b", "GPU-2"}, {"a", "GPU-1"},
                                   {"a", "GPU-2"}, {"c", "GPU-3"}, {"a", "GPU-1"}};
  EXPECT_EQ(ranks_sharing_a_gpu(ranks), (std::vector<Ranks>{{0, 4}, {1, 3, 6}}));
}

TEST(DeviceChoice, TwoRanksOnOneGpuAreRefusedByName) {
  EXPECT_NO_THROW(require_a_gpu_each({{"a", "GPU-1"}, {"a", "GPU-2"}, {"b", "GPU-1"}}));
  const Error error = error_of([] { require_a_gpu_each({{"a", "GPU-1"}, {"b", "GPU-7"}, {"b", "GPU-7"}}); });
  EXPECT_NE(error.message().find("ranks 1 and 2 on b hold GPU-7"), std::string::npos) << error.message();
}

}  // namespace
}  // namespace saber
