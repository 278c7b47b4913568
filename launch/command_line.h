// saber COMMAND [ACTION] -c config.yaml --set a.b=c --check
#pragma once

#include <string>

#include "launch/settings.h"

namespace saber {

struct CommandLine {
  std::string command;
  std::string action;  // of `data` and `lvlm`
  bool check_only = false;
  std::string print;  // help or version text to print instead of running; empty: run
};

// Parses the arguments and reads the settings they name into `settings`. Throws bad_input.
CommandLine parse_command_line(int argc, const char* const* argv, Settings& settings);

}  // namespace saber
