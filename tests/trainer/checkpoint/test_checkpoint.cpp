#include "trainer/checkpoint/checkpoint.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "tests/support/recorded_calls.h"

namespace saber {
namespace {

namespace fs = std::filesystem;

class CheckpointFolder : public testing::Test {
 protected:
  CheckpointFolder() : run_(fs::path(testing::TempDir()) / ("saber-checkpoint-" + std::to_string(getpid()))) {
    fs::remove_all(run_);
    fs::create_directories(run_);
    level_ = spdlog::get_level();
    spdlog::set_level(spdlog::level::off);  // thousands of warnings about damaged checkpoints are wanted here
  }
  ~CheckpointFolder() override {
    spdlog::set_level(level_);
    fs::remove_all(run_);
  }

  // Every value tells the step, so that a mixture of two checkpoints would show.
  static Checkpoint checkpoint(std::int64_t step) {
    Checkpoint out;
    out.state = {step, "data", "units", 2, "build"};
    out.config = {{"seed", 7}, {"train", {{"steps", step}}}};
    out.model = {{"w", at::full({2}, static_cast<double>(step))}};
    out.model_metadata = {{"format", "pt"}};
    out.optimizer = {{"m", at::full({1}, static_cast<double>(step), at::kDouble)}};
    return out;
  }
  void save(std::int64_t step, std::int64_t keep = 10) const { save_checkpoint(run_, checkpoint(step), keep); }

  // Without fsync, which would take most of the time of tests that damage a file thousands of times.
  static void overwrite(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }

  // Changes one bit of the weights, and no size.
  void flip_bit(std::int64_t step) const {
    const fs::path path = folder(step) / "model.safetensors";
    std::string bytes = read_file(path);
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    overwrite(path, bytes);
  }

  fs::path folder(std::int64_t step) const {
    std::string digits = std::to_string(step);
    return run_ / "checkpoints" / ("step-" + std::string(8 - digits.size(), '0') + digits);
  }

  static void expect_is(const Checkpoint& found, std::int64_t step) {
    EXPECT_EQ(found.state.step, step);
    EXPECT_EQ(found.config, checkpoint(step).config);
    EXPECT_TRUE(at::equal(found.model.at("w"), checkpoint(step).model.at("w")));
    EXPECT_TRUE(at::equal(found.optimizer.at("m"), checkpoint(step).optimizer.at("m")));
  }

  std::int64_t newest_step() const {
    const auto found = load_newest_checkpoint(run_);
    if (!found) return -1;
    expect_is(*found, found->state.step);
    return found->state.step;
  }

  const fs::path run_;
  spdlog::level::level_enum level_;
};

const char* const kNames[] = {"model.safetensors", "optimizer-00000-of-00001.safetensors", "config.json", "state.json",
                              "manifest.json"};

TEST_F(CheckpointFolder, RoundTrip) {
  EXPECT_EQ(load_newest_checkpoint(run_), std::nullopt);
  save(1200);
  const auto found = load_newest_checkpoint(run_);
  ASSERT_TRUE(found);
  expect_is(*found, 1200);
  EXPECT_EQ(found->folder, folder(1200));
  EXPECT_EQ(found->state.data_fingerprint, "data");
  EXPECT_EQ(found->state.units_fingerprint, "units");
  EXPECT_EQ(found->state.world_size, 2);
  EXPECT_EQ(found->state.build, "build");
  EXPECT_EQ(found->model_metadata.at("format"), "pt");
  for (const char* name : kNames) EXPECT_TRUE(fs::exists(folder(1200) / name)) << name;
}

TEST_F(CheckpointFolder, OrderIsByStepNotByTime) {
  save(20);
  save(100);
  save(3);
  fs::create_directories(run_ / "checkpoints" / "step-7");
  fs::create_directories(run_ / "checkpoints" / "step-0000000x");
  overwrite(run_ / "checkpoints" / "step-00000999", "a file");
  EXPECT_EQ(list_checkpoints(run_), (std::vector<std::int64_t>{100, 20, 3}));
  EXPECT_EQ(newest_step(), 100);
}

TEST_F(CheckpointFolder, AFileCutAnywhereIsPassedOver) {
  save(1);
  save(2);
  for (const std::string name : kNames) {
    const std::string whole = read_file(folder(2) / name);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      overwrite(folder(2) / name, whole.substr(0, size));
      ASSERT_EQ(newest_step(), 1) << name << " cut to " << size;
    }
    overwrite(folder(2) / name, whole + " ");
    EXPECT_EQ(newest_step(), name == "manifest.json" ? 2 : 1) << name;  // a blank after JSON changes nothing
    fs::remove(folder(2) / name);
    EXPECT_EQ(newest_step(), 1) << name;
    overwrite(folder(2) / name, whole);
    ASSERT_EQ(newest_step(), 2);
  }
}

TEST_F(CheckpointFolder, EveryFlippedBitIsFound) {
  save(2);
  for (const std::string name : kNames) {
    const std::string whole = read_file(folder(2) / name);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string damaged = whole;
        damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
        overwrite(folder(2) / name, damaged);
        ASSERT_THROW(load_checkpoint(folder(2)), Error) << name << " byte " << i << " bit " << bit;
      }
    }
    overwrite(folder(2) / name, whole);
  }
  expect_is(load_checkpoint(folder(2)), 2);
}

TEST_F(CheckpointFolder, NothingThatVerifiesIsAnError) {
  save(1);
  fs::remove(folder(1) / "manifest.json");
  EXPECT_THROW(load_newest_checkpoint(run_), Error);
}

TEST_F(CheckpointFolder, TheMessageNamesTheDamagedFile) {
  save(1);
  overwrite(folder(1) / "state.json", "{}");
  try {
    load_checkpoint(folder(1));
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
    EXPECT_EQ(error.place(), (folder(1) / "state.json").string());
  }
}

TEST_F(CheckpointFolder, PassingOverIsToldInTheLog) {
  save(1);
  save(2);
  overwrite(folder(2) / "config.json", "{}");
  std::ostringstream log;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(log)));
  EXPECT_EQ(newest_step(), 1);
  spdlog::set_default_logger(before);
  EXPECT_NE(log.str().find("[warning] passed over the checkpoint of step 2"), std::string::npos) << log.str();
  EXPECT_NE(log.str().find("config.json"), std::string::npos) << log.str();
}

TEST_F(CheckpointFolder, NamesOutsideTheFolderAreRefused) {
  save(1);
  overwrite(run_ / "x", "outside");
  const auto manifest = nlohmann::json::parse(read_file(folder(1) / "manifest.json"));
  for (const std::string name : {"../../x", "/etc/passwd", "sub/model.safetensors", "extra.bin", ""}) {
    nlohmann::json changed = manifest;
    changed["files"][name] = manifest["files"]["model.safetensors"];
    overwrite(folder(1) / "manifest.json", changed.dump());
    EXPECT_THROW(load_checkpoint(folder(1)), Error) << name;
    changed["files"].erase("model.safetensors");
    overwrite(folder(1) / "manifest.json", changed.dump());
    EXPECT_THROW(load_checkpoint(folder(1)), Error) << name;
  }
}

TEST_F(CheckpointFolder, AFolderUnderAnotherStepsNameIsRefused) {
  save(1);
  fs::rename(folder(1), folder(5));
  EXPECT_THROW(load_checkpoint(folder(5)), Error);
}

TEST_F(CheckpointFolder, SavingAgainWritesNothingUnlessDamaged) {
  save(1);
  const auto written = fs::last_write_time(folder(1) / "manifest.json");
  save(1);
  EXPECT_EQ(fs::last_write_time(folder(1) / "manifest.json"), written);
  overwrite(folder(1) / "model.safetensors", "damaged");
  save(1);
  EXPECT_EQ(newest_step(), 1);
}

TEST_F(CheckpointFolder, RetentionKeepsTheNewestThatAreComplete) {
  for (const std::int64_t step : {1, 2, 3, 4}) save(step, 2);
  EXPECT_EQ(list_checkpoints(run_), (std::vector<std::int64_t>{4, 3}));
  // A damaged folder is neither counted nor removed, so that two good ones stay.
  fs::remove(folder(4) / "manifest.json");
  save(5, 2);
  EXPECT_EQ(list_checkpoints(run_), (std::vector<std::int64_t>{5, 4, 3}));
  save(6, 2);
  EXPECT_EQ(list_checkpoints(run_), (std::vector<std::int64_t>{6, 5, 4}));
}

TEST_F(CheckpointFolder, ANewerDamagedOneDoesNotRemoveTheOneJustSaved) {
  save(5);
  flip_bit(5);
  save(3, 1);
  EXPECT_EQ(newest_step(), 3);
  // Nor does a newer one that loads.
  save(6);
  save(4, 1);
  EXPECT_EQ(list_checkpoints(run_), (std::vector<std::int64_t>{6, 5, 4}));
}

TEST_F(CheckpointFolder, ADamagedOneOfEqualSizeIsReplaced) {
  save(1);
  flip_bit(1);
  save(1);
  EXPECT_EQ(newest_step(), 1);
}

TEST_F(CheckpointFolder, ADamagedOneOfEqualSizeIsNotCountedAsKept) {
  for (const std::int64_t step : {1, 2, 3}) save(step);
  flip_bit(3);
  save(4, 2);
  EXPECT_EQ(list_checkpoints(run_), (std::vector<std::int64_t>{4, 3, 2}));
  flip_bit(4);
  EXPECT_EQ(newest_step(), 2) << "two good ones were kept";
  // Once two newer ones verify, the damaged ones go, too.
  save(5, 2);
  save(6, 2);
  EXPECT_EQ(list_checkpoints(run_), (std::vector<std::int64_t>{6, 5}));
}

TEST_F(CheckpointFolder, ASaveIsOnTheDiskBeforeItIsSeenAndBeforeAnOlderOneGoes) {
  save(1);
  const auto names = test::recorded_calls(run_, [&] { save(2, 1); });
  const std::string temporary = "checkpoints/.tmp-step-00000002";
  std::vector<std::string> wanted = {"sync ."};
  for (const std::string name :
       {"model.safetensors", "optimizer-00000-of-00001.safetensors", "config.json", "state.json", "manifest.json"}) {
    wanted.push_back("write " + temporary + "/" + name);
    wanted.push_back("sync " + temporary + "/" + name);
  }
  wanted.push_back("sync " + temporary);
  wanted.push_back("rename " + temporary + " checkpoints/step-00000002");
  wanted.emplace_back("sync checkpoints");
  wanted.emplace_back("rename checkpoints/step-00000001 checkpoints/.old-step-00000001");
  wanted.emplace_back("sync checkpoints");
  EXPECT_EQ(names, wanted);
}

TEST_F(CheckpointFolder, LeftoversAreRemovedAtTheNextSave) {
  const fs::path checkpoints = run_ / "checkpoints";
  fs::create_directories(checkpoints / ".tmp-step-00000009" / "deep");
  fs::create_directories(checkpoints / ".old-step-00000001");
  save(1);
  EXPECT_EQ(std::distance(fs::directory_iterator(checkpoints), fs::directory_iterator()), 1);
}

// Runs `work` in a child process with SABER_FAIL_POINT set; tells whether SIGKILL ended it.
bool killed_at(const std::string& fail_point, const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    setenv("SABER_FAIL_POINT", fail_point.c_str(), 1);
    work();
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

TEST_F(CheckpointFolder, AKillAnywhereLeavesTheOldOrTheNew) {
  at::set_num_threads(1);  // a forked child has no worker threads
  const std::pair<std::string, std::int64_t> cases[] = {
      {"save:file-written@1", 1}, {"save:file-written@2", 1},  {"save:file-written@3", 1},
      {"save:file-written@4", 1}, {"save:before-manifest", 1}, {"save:manifest-written", 1},
      {"save:before-rename", 1},  {"save:renamed", 2},         {"save:before-retention", 2},
      {"save:old-renamed", 2},    {"save:retention-done", 2}};
  for (const auto& [name, survivor] : cases) {
    fs::remove_all(run_ / "checkpoints");
    save(1, 1);
    EXPECT_TRUE(killed_at(name, [&] { save(2, 1); })) << name;
    EXPECT_EQ(newest_step(), survivor) << name;
    save(3, 1);
    EXPECT_EQ(newest_step(), 3) << name;
    const fs::path checkpoints = run_ / "checkpoints";
    EXPECT_EQ(std::distance(fs::directory_iterator(checkpoints), fs::directory_iterator()), 1) << name;
  }
  EXPECT_FALSE(killed_at("save:file-written@5", [&] { save(4, 1); }));
  EXPECT_FALSE(killed_at("save:no-such-point", [&] { save(5, 1); }));
}

TEST_F(CheckpointFolder, AKillWhileADamagedOneIsReplacedLeavesTheOlder) {
  at::set_num_threads(1);
  save(1);
  save(2);
  overwrite(folder(2) / "model.safetensors", "damaged");
  EXPECT_TRUE(killed_at("save:old-renamed", [&] { save(2); }));
  EXPECT_EQ(newest_step(), 1);
  save(2);
  EXPECT_EQ(newest_step(), 2);
}

TEST_F(CheckpointFolder, ChecksumsAreComparedOnceForAllRanksOfAHost) {
  save(1);
  const fs::path config = folder(1) / "config.json";
  overwrite(config, read_file(config) + " ");  // the same JSON, another checksum
  EXPECT_THROW(verify_checkpoint(folder(1)), Error);
  EXPECT_THROW(load_checkpoint(folder(1)), Error);
  EXPECT_NO_THROW(load_checkpoint(folder(1), /*verified_before=*/true)) << "another rank has compared them";
}

}  // namespace
}  // namespace saber
