#include "launch/run_folder.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "tests/data/temporary_folder.h"

namespace saber {
namespace {

using testing_data::TemporaryFolder;

std::string lines_up_to(std::int64_t last) {
  std::string out;
  for (std::int64_t step = 1; step <= last; ++step) {
    out += "{\"step\":" + std::to_string(step) + ",\"loss\":0.5}\n";
  }
  return out;
}

void write_steps(StepLog& log, std::int64_t first, std::int64_t last) {
  for (std::int64_t step = first; step <= last; ++step) log.write({{"step", step}, {"loss", 0.5}});
  log.sync();
}

// A file with `text` in it, opened for a run that has done `last_step` steps.
std::string after_opening(const std::string& text, std::int64_t last_step) {
  const TemporaryFolder folder;
  std::ofstream(folder / "log.jsonl") << text;
  { const StepLog log(folder / "log.jsonl", last_step); }
  return read_file(folder / "log.jsonl");
}

TEST(StepLog, HoldsEveryStepOnceAfterAResume) {
  const TemporaryFolder folder;
  {
    StepLog log(folder / "log.jsonl", 0);
    write_steps(log, 1, 9);
  }
  EXPECT_EQ(read_file(folder / "log.jsonl"), lines_up_to(9));
  {
    StepLog log(folder / "log.jsonl", 6);  // the checkpoint is of step 6
    EXPECT_EQ(read_file(folder / "log.jsonl"), lines_up_to(6));
    write_steps(log, 7, 12);
  }
  EXPECT_EQ(read_file(folder / "log.jsonl"), lines_up_to(12));
}

TEST(StepLog, StartsAnewWithoutACheckpoint) {
  EXPECT_EQ(after_opening(lines_up_to(5), 0), "");
}

TEST(StepLog, ATornLastLineGoes) {
  const std::string torn = lines_up_to(5) + "{\"step\":6,\"lo";
  EXPECT_EQ(after_opening(torn, 5), lines_up_to(5));
  EXPECT_EQ(after_opening(torn, 9), lines_up_to(5)) << "also when its step is done";
  EXPECT_EQ(after_opening(lines_up_to(5) + "{\"step\":6}", 9), lines_up_to(5)) << "a line without its end is torn";
  EXPECT_EQ(after_opening(lines_up_to(2) + "nonsense\n" + lines_up_to(3), 9), lines_up_to(2));
}

TEST(StepLog, MissingFileIsAnEmptyOne) {
  const TemporaryFolder folder;
  StepLog log(folder / "log.jsonl", 4);
  EXPECT_EQ(read_file(folder / "log.jsonl"), "");
}

TEST(StepLog, AFolderThatIsNotThereIsAnError) {
  const TemporaryFolder folder;
  EXPECT_THROW(StepLog(folder / "absent/log.jsonl", 0), Error);
}

TEST(Rewards, AreReadBackExactlyAndInOrder) {
  const TemporaryFolder folder;
  const double odd = -0.1234567890123456789;
  {
    StepLog log(folder / "samples.jsonl", 0);
    log.write({{"step", 1}, {"samples", {"5/", "6/"}}});  // listwise: no rewards
    log.write({{"step", 2},
               {"samples", {"5/1/2", "5/2/1", "6/1/2"}},
               {"rewards", {odd, std::numeric_limits<double>::quiet_NaN(), -3.0}}});
  }
  std::ofstream(folder / "samples.jsonl", std::ios::app) << "{\"step\":3,\"samples\":[\"5/1\"],\"rew";
  std::vector<std::pair<std::string, std::optional<double>>> seen;
  const auto use = [&](const std::string& name, std::optional<double> reward) { seen.emplace_back(name, reward); };
  for_each_reward(read_file(folder / "samples.jsonl"), use);
  const decltype(seen) wanted = {{"5/1/2", odd}, {"5/2/1", std::nullopt}, {"6/1/2", -3.0}};
  EXPECT_EQ(seen, wanted);
  for_each_reward("", use);
  EXPECT_EQ(seen, wanted);
}

}  // namespace
}  // namespace saber
