#include "launch/command_line.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "launch/commands.h"
#include "tests/data/temporary_folder.h"

namespace saber {
namespace {

using testing_data::expect_bad_input;
using testing_data::TemporaryFolder;

CommandLine parse(std::vector<std::string> arguments, Settings& settings) {
  std::vector<const char*> argv = {"saber"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  return parse_command_line(static_cast<int>(argv.size()), argv.data(), settings);
}
CommandLine parse(std::vector<std::string> arguments) {
  Settings settings;
  return parse(std::move(arguments), settings);
}

std::string file(const TemporaryFolder& folder, const std::string& name, const std::string& text) {
  std::ofstream(folder / name) << text;
  return (folder / name).string();
}

TEST(CommandLine, KnowsItsCommandsAndActions) {
  for (const std::string command : {"score", "train", "select", "eval"}) {
    const CommandLine line = parse({command});
    EXPECT_EQ(line.command, command);
    EXPECT_TRUE(line.action.empty() && line.print.empty() && !line.check_only);
  }
  for (const std::string action : {"demo", "check", "describe"}) {
    EXPECT_EQ(parse({"data", action}).action, action);
    EXPECT_EQ(parse({"data", action}).command, "data");
  }
  EXPECT_EQ(parse({"lvlm", "train"}).action, "train");
  EXPECT_TRUE(parse({"train", "--check"}).check_only);
}

TEST(CommandLine, RefusesWhatItDoesNotKnow) {
  expect_bad_input({"command line"}, [] { parse({}); });
  expect_bad_input({"command line", "fly"}, [] { parse({"fly"}); });
  expect_bad_input({"command line"}, [] { parse({"data"}); });
  expect_bad_input({"command line", "paint"}, [] { parse({"data", "paint"}); });
  expect_bad_input({"command line", "--fast"}, [] { parse({"train", "--fast"}); });
  expect_bad_input({"command line"}, [] { parse({"train", "demo"}); });
}

TEST(CommandLine, ReadsFilesInOrderAndThenAssignments) {
  const TemporaryFolder folder;
  const std::string first = file(folder, "a.yaml", "seed: 4\nscore: {shots: 3, beam: 7}\n");
  const std::string second = file(folder, "b.yaml", "score: {beam: 9}\n");
  {
    Settings settings;
    parse({"score", "-c", first, "-c", second}, settings);
    EXPECT_EQ(settings.seed, 4);
    EXPECT_EQ(settings.score.shots, 3);
    EXPECT_EQ(settings.score.beam, 9);
  }
  {
    Settings settings;
    parse({"score", "--set", "score.beam=2", "--config", second, "--config", first, "--set", "seed=11"}, settings);
    EXPECT_EQ(settings.score.beam, 2) << "assignments win over files wherever they stand";
    EXPECT_EQ(settings.seed, 11);
  }
}

TEST(CommandLine, AFileDoesNotSwallowWhatFollowsIt) {
  const TemporaryFolder folder;
  const std::string yaml = file(folder, "a.yaml", "seed: 4\n");
  EXPECT_EQ(parse({"data", "-c", yaml, "check"}).action, "check");
  EXPECT_EQ(parse({"data", "--set", "seed=3", "check"}).action, "check");
}

TEST(CommandLine, UnknownKeysAndWrongValuesNameTheirPlace) {
  const TemporaryFolder folder;
  const std::string yaml = file(folder, "a.yaml", "seed: 4\nscore:\n  beem: 3\n");
  expect_bad_input({"a.yaml line 3", "score.beem", "score.beam"}, [&] { parse({"score", "-c", yaml}); });
  expect_bad_input({"--set score.beam=wide", "integer"}, [] { parse({"score", "--set", "score.beam=wide"}); });
  expect_bad_input({"--set scor.beam=3", "score.beam"}, [] { parse({"score", "--set", "scor.beam=3"}); });
  expect_bad_input({"absent.yaml"}, [] { parse({"score", "-c", "absent.yaml"}); });
}

TEST(CommandLine, HelpAndVersionAreToBePrinted) {
  EXPECT_NE(parse({"--help"}).print.find("train"), std::string::npos);
  EXPECT_NE(parse({"--version"}).print.find(SABER_VERSION), std::string::npos);
  const std::string help = parse({"train", "--help"}).print;
  for (const std::string part : {"train.listwise.batch_size: 64 units", "--set", "--check", "at least 1"}) {
    EXPECT_NE(help.find(part), std::string::npos) << part;
  }
}

TEST(CommandLine, HelpListsWhatTheCommandReads) {
  const std::string train = parse({"train", "--help"}).print, select = parse({"select", "--help"}).print;
  for (const std::string key : {"train.stages", "model.width", "lvlm.kind", "run.dir", "seed"})
    EXPECT_NE(train.find("  " + key + ": "), std::string::npos) << key;
  for (const std::string key : {"eval.split", "score.beam", "demo.seed", "lvlm.steps"})
    EXPECT_EQ(train.find("  " + key + ": "), std::string::npos) << key;
  EXPECT_EQ(select.find("train.stages: "), std::string::npos);
  EXPECT_NE(parse({"--help"}).print.find("--help-all"), std::string::npos);
}

TEST(CommandLine, EverySettingIsReadBySomeCommand) {
  const Settings settings;
  const std::string all = parse({"--help-all"}).print;
  std::string of_commands;
  for (const Command& command : commands()) of_commands += settings.schema.help(command.reads);
  for (const std::string& key : settings.schema.keys()) {
    EXPECT_NE(all.find("  " + key + ": "), std::string::npos) << key;
    EXPECT_NE(of_commands.find("  " + key + ": "), std::string::npos) << key << " is read by nobody";
  }
}

TEST(CommandLine, VersionTellsWhatTheProgramWasBuiltWith) {
  const std::string text = parse({"--version"}).print;
  for (const std::string part : {"saber ", "g++ ", "LibTorch ", "Open MPI v", "HDF5 ", "NCCL "})
    EXPECT_NE(text.find(part), std::string::npos) << part;
}

}  // namespace
}  // namespace saber
