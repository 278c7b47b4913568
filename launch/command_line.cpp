#include "launch/command_line.h"

#include <CLI/CLI.hpp>
#include <vector>

#include "core/error.h"

namespace saber {
namespace {

struct CommandInfo {
  const char* name;
  const char* help;
  std::vector<std::string> actions;
};

const std::vector<CommandInfo>& command_infos() {
  static const std::vector<CommandInfo> infos = {
      {"data", "build the demo set; check or describe a data set", {"demo", "check", "describe"}},
      {"lvlm", "train the built-in tiny LVLM", {"train"}},
      {"score", "search good sequences by the LVLM's scores; writes the score tree", {}},
      {"train", "train SabER from score trees and sampled sequences; resumes by itself", {}},
      {"select", "queries in, ordered demonstrations out", {}},
      {"eval", "SabER beside selections that need no training", {}},
  };
  return infos;
}

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv, Settings& settings) {
  CommandLine line;
  std::vector<std::string> files, assignments;
  std::string prompts;
  CLI::App app("SabER, distributed: trains a selector of in-context demonstrations from an LVLM's own scores", "saber");
  app.set_version_flag("--version", SABER_VERSION);
  app.require_subcommand(0, 1);  // none at all is refused below: CLI11 would not name an unknown one
  for (const CommandInfo& info : command_infos()) {
    CLI::App* const sub = app.add_subcommand(info.name, info.help);
    if (!info.actions.empty()) {
      sub->add_option("action", line.action, "what to do")->required()->check(CLI::IsMember(info.actions));
    }
    sub->add_option("-c,--config", files, "YAML file of settings; may be given more than once, later files win");
    sub->add_option("--set", assignments, "one setting, as key=value; wins over files")->allow_extra_args(false);
    sub->add_flag("--check", line.check_only, "check and print the settings, start nothing");
    if (std::string(info.name) == "select") {
      sub->add_option("--prompts", prompts, "flat or multi_turn: short for --set select.prompts=...");
    }
    sub->footer("Settings (default, unit, [type, rule]):\n" + settings.schema.help());
    sub->callback([&line, name = info.name] { line.command = name; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    line.print = chosen.empty() ? app.help() : chosen.front()->help();
    return line;
  } catch (const CLI::CallForVersion&) {
    line.print = std::string("saber ") + SABER_VERSION + "\n";
    return line;
  } catch (const CLI::ParseError& error) {
    throw_bad_input(error.what(), "command line", "saber --help lists the commands");
  }
  if (line.command.empty()) throw_bad_input("names no command", "command line", "saber --help lists the commands");
  for (const std::string& file : files) settings.schema.read_yaml(file);
  for (const std::string& assignment : assignments) settings.schema.assign(assignment);
  if (!prompts.empty()) settings.schema.assign("select.prompts=" + prompts);
  return line;
}

}  // namespace saber
