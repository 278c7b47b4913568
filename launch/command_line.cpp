#include "launch/command_line.h"

#include <CLI/CLI.hpp>
#include <vector>

#include "core/error.h"
#include "launch/build_info.h"
#include "launch/commands.h"

namespace saber {
namespace {

// What the command line holds beside the command.
struct Words {
  std::vector<std::string> files, assignments;
  std::string prompts;
};

void add_commands(CLI::App& app, const Schema& schema, CommandLine& line, Words& words) {
  for (const Command& info : commands()) {
    CLI::App* const sub = app.add_subcommand(info.name, info.help);
    if (!info.actions.empty()) {
      sub->add_option("action", line.action, "what to do")->required()->check(CLI::IsMember(info.actions));
    }
    sub->add_option("-c,--config", words.files, "YAML file of settings; may be given more than once, later files win");
    sub->add_option("--set", words.assignments, "one setting, as key=value; wins over files")->allow_extra_args(false);
    sub->add_flag("--check", line.check_only, "check and print the settings, start nothing");
    if (info.name == "select") {
      sub->add_option("--prompts", words.prompts, "flat or multi_turn: short for --set select.prompts=...");
    }
    sub->footer("Settings that it reads (default, unit, [type, rule]):\n" + schema.help(info.reads));
    sub->callback([&line, name = info.name] { line.command = name; });
  }
}

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv, Settings& settings) {
  CommandLine line;
  Words words;
  CLI::App app("SabER, distributed: trains a selector of in-context demonstrations from an LVLM's own scores", "saber");
  app.set_version_flag("--version", SABER_VERSION, "print what this program was built with");
  bool help_all = false;
  app.add_flag("--help-all", help_all, "print all settings of all commands");
  app.footer("saber COMMAND --help lists the settings that COMMAND reads, saber --help-all all of them.");
  app.require_subcommand(0, 1);  // none at all is refused below: CLI11 would not name an unknown one
  add_commands(app, settings.schema, line, words);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    line.print = chosen.empty() ? app.help() : chosen.front()->help();
    return line;
  } catch (const CLI::CallForVersion&) {
    line.print = build_report();
    return line;
  } catch (const CLI::ParseError& error) {
    throw_bad_input(error.what(), "command line", "saber --help lists the commands");
  }
  if (help_all) {
    line.print = "All settings (default, unit, [type, rule]):\n" + settings.schema.help();
    return line;
  }
  if (line.command.empty()) throw_bad_input("names no command", "command line", "saber --help lists the commands");
  for (const std::string& file : words.files) settings.schema.read_yaml(file);
  for (const std::string& assignment : words.assignments) settings.schema.assign(assignment);
  if (!words.prompts.empty()) settings.schema.assign("select.prompts=" + words.prompts);
  return line;
}

}  // namespace saber
