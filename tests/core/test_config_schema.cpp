#include "core/config_schema.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "core/atomic_file.h"
#include "core/error.h"

namespace saber {
namespace {

// One setting of each type.
struct Example {
  std::int64_t steps = 0;
  double rate = 0;
  bool fast = false;
  std::string name, mode;
  std::vector<std::string> files;
  Schema schema;

  Example() {
    schema.integer(steps, "train.steps", 10, 1, 1000, "steps", "how long", OnResume::must_match);
    schema.real(rate, "train.rate", 0.5, 0.0, 1.0, "", "how fast", OnResume::must_match);
    schema.flag(fast, "train.fast", false, "or not");
    schema.text(name, "run.name", "", "of the run");
    schema.choice(mode, "run.mode", "a", {"a", "b"}, "which");
    schema.texts(files, "data.files", {"x.h5"}, "inputs");
  }
};

class ConfigSchema : public testing::Test {
 protected:
  ConfigSchema() : path_(testing::TempDir() + "saber-config-" + std::to_string(getpid()) + ".yaml") {}
  ~ConfigSchema() override { std::filesystem::remove(path_); }

  void read(const std::string& yaml) {
    write_file_durable(path_, yaml);
    example_.schema.read_yaml(path_);
  }

  // `work` throws bad_input whose whole text holds each of `parts`.
  static void expect_error(const std::function<void()>& work, const std::vector<std::string>& parts) {
    try {
      work();
      ADD_FAILURE() << "no error, wanted one with " << parts.front();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_input);
      for (const std::string& part : parts) {
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
            << "wanted " << part << " in " << error.what();
      }
    }
  }
  void expect_yaml_error(const std::string& yaml, std::vector<std::string> parts) {
    parts.push_back(path_);
    expect_error([&] { read(yaml); }, parts);
  }

  const std::string path_;
  Example example_;
};

TEST_F(ConfigSchema, DefaultsHoldUntilAFileSaysOtherwise) {
  EXPECT_EQ(example_.steps, 10);
  EXPECT_EQ(example_.files, std::vector<std::string>{"x.h5"});
  read("train:\n  steps: 20\n  rate: 1e-3\n  fast: true\nrun:\n  name: 'a: b'\n  mode: b\n");
  EXPECT_EQ(example_.steps, 20);
  EXPECT_EQ(example_.rate, 1e-3);
  EXPECT_TRUE(example_.fast);
  EXPECT_EQ(example_.name, "a: b");
  EXPECT_EQ(example_.mode, "b");
  EXPECT_EQ(example_.files, std::vector<std::string>{"x.h5"});
  EXPECT_NO_THROW(read(""));
}

TEST_F(ConfigSchema, UnknownKeysAreRefusedWithTheNearest) {
  expect_yaml_error("train:\n  fast: true\n  stesp: 20\n", {"line 3", "'train.stesp'", "did you mean 'train.steps'"});
  expect_error([&] { example_.schema.assign("run.mod=a"); }, {"--set run.mod=a", "did you mean 'run.mode'"});
}

TEST_F(ConfigSchema, RepeatedKeysAreRefused) {
  expect_yaml_error("train:\n  steps: 20\n  steps: 30\n", {"line 3", "train.steps is given twice"});
  expect_yaml_error("train:\n  steps: 20\ntrain:\n  rate: 0.1\n", {"line 3", "train is given twice"});
}

TEST_F(ConfigSchema, WrongTypesAreRefused) {
  expect_yaml_error("train:\n  steps: many\n", {"line 2", "train.steps is 'many', wanted an integer"});
  expect_yaml_error("train:\n  steps: 1.5\n", {"'1.5'", "an integer"});
  expect_yaml_error("train:\n  steps: 10x\n", {"'10x'", "an integer"});
  expect_yaml_error("train:\n  steps: 99999999999999999999\n", {"an integer"});
  expect_yaml_error("train:\n  rate: .nan\n", {"a number"});
  expect_yaml_error("train:\n  rate: inf\n", {"a number"});
  expect_yaml_error("train:\n  fast: yes\n", {"'yes'", "true or false"});
  expect_yaml_error("train:\n  steps: [1]\n", {"train.steps is a list"});
  expect_yaml_error("train:\n  steps: {a: 1}\n", {"train.steps is a map"});
  expect_yaml_error("train:\n  steps:\n", {"line 2", "has no value"});
  expect_yaml_error("data:\n  files: [[a]]\n", {"data.files"});
  expect_yaml_error("data:\n  files: a\n", {"data.files", "a list"});
  expect_yaml_error("- a\n", {"not a map"});
  expect_yaml_error("a: [1\n", {"not valid YAML"});
  EXPECT_EQ(example_.steps, 10);
}

TEST_F(ConfigSchema, RangesAndChoicesAreChecked) {
  expect_yaml_error("train:\n  steps: 0\n", {"'0'", "from 1 to 1000"});
  expect_yaml_error("train:\n  steps: 1001\n", {"from 1 to 1000"});
  expect_yaml_error("train:\n  rate: 1.01\n", {"from 0 to 1"});
  expect_yaml_error("run:\n  mode: c\n", {"'c'", "one of a, b"});
  read("train: {steps: 1000, rate: 1.0}\n");
  EXPECT_EQ(example_.steps, 1000);
}

TEST_F(ConfigSchema, AssignTakesWhatFollowsTheFirstEqualsSign) {
  example_.schema.assign("run.name=a=b");
  EXPECT_EQ(example_.name, "a=b");
  example_.schema.assign("run.name=");
  EXPECT_EQ(example_.name, "");
  example_.schema.assign("train.steps=7");
  EXPECT_EQ(example_.steps, 7);
  expect_error([&] { example_.schema.assign("train.steps"); }, {"no '='"});
  expect_error([&] { example_.schema.assign("train.steps=0"); }, {"--set train.steps=0", "from 1"});
}

TEST_F(ConfigSchema, ListsComeFromSequencesAndCommas) {
  read("data:\n  files: [a.h5, 'b,c.h5']\n");
  EXPECT_EQ(example_.files, (std::vector<std::string>{"a.h5", "b,c.h5"}));
  example_.schema.assign("data.files=p,q");
  EXPECT_EQ(example_.files, (std::vector<std::string>{"p", "q"}));
  example_.schema.assign("data.files=");
  EXPECT_TRUE(example_.files.empty());
}

TEST_F(ConfigSchema, ValuesRestoreOnAnotherRank) {
  read("train: {steps: 3, rate: 0.1, fast: true}\nrun: {name: n, mode: b}\ndata: {files: [u, v]}\n");
  Example other;
  other.schema.restore(nlohmann::json::parse(example_.schema.values().dump()));
  EXPECT_EQ(other.schema.values(), example_.schema.values());
  EXPECT_EQ(other.rate, 0.1);
  EXPECT_EQ(other.files, (std::vector<std::string>{"u", "v"}));
}

TEST_F(ConfigSchema, ResumeNamesEverySettingThatMustMatch) {
  const nlohmann::json stored = example_.schema.values();
  example_.schema.assign("train.fast=true");  // may change
  EXPECT_NO_THROW(example_.schema.require_match(stored, "run"));
  example_.schema.assign("train.steps=11");
  example_.schema.assign("train.rate=0.25");
  expect_error([&] { example_.schema.require_match(stored, "the run"); },
               {"the run", "train.steps is 11, was 10", "train.rate is 0.25, was 0.5"});
  nlohmann::json older = example_.schema.values();
  older["train"].erase("rate");
  expect_error([&] { example_.schema.require_match(older, "the run"); }, {"train.rate", "not stored"});
}

TEST_F(ConfigSchema, HelpListsEverySetting) {
  const std::string help = example_.schema.help();
  for (const char* part : {"train.steps: 10 steps", "from 1 to 1000", "how long", "fixed for a run", "one of a, b",
                           "train.fast: false", "data.files: [x.h5]", "run.name: \"\""}) {
    EXPECT_NE(help.find(part), std::string::npos) << part << " in\n" << help;
  }
}

TEST_F(ConfigSchema, ASettingIsDeclaredOnce) {
  EXPECT_THROW(example_.schema.flag(example_.fast, "train.fast", true, ""), Error);
}

TEST(Schema, AKeyOfAnEarlierVersionNamesTheOneOfToday) {
  std::string folder;
  Schema schema;
  schema.text(folder, "run.dir", "a", "");
  schema.renamed("run.folder", "run.dir");
  try {
    schema.assign("run.folder=b");
    FAIL() << "was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "setting 'run.folder' is now 'run.dir'");
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
  }
  EXPECT_EQ(folder, "a");
}

}  // namespace
}  // namespace saber
