// The commands of the program, in one table.
#pragma once

#include <string>
#include <vector>

#include "comm/mpi_session.h"
#include "comm/process_group.h"
#include "launch/settings.h"

namespace saber {

// What a command runs with.
struct CommandContext {
  const MpiSession& session;
  const Settings& settings;
  std::string action;     // of commands that have actions
  torch::Device device;   // of this rank's models
  ProcessGroupPtr group;  // of all ranks
};

enum class Exchange {
  nothing,             // ranks exchange nothing that lies on a GPU
  sharded_selections,  // only where the library is sharded
  gradients,
};

struct Command {
  std::string name, help;
  std::vector<std::string> actions = {};
  std::vector<std::string> reads = {};  // settings, as in Schema::help
  bool uses_models = true;              // else it starts neither a device nor a process group
  Exchange exchange = Exchange::nothing;
  // Ranks work for themselves for long and meet at the end: nobody is late meanwhile.
  bool patient = true;
  int (*run)(const CommandContext&) = nullptr;  // the exit status; errors are thrown
};

const std::vector<Command>& commands();
const Command& command_of(const std::string& name);

// Each in a file of its own, cmd_NAME.cpp.
int run_data(const CommandContext& context);
int run_lvlm(const CommandContext& context);
int run_score(const CommandContext& context);
int run_train(const CommandContext& context);
int run_select(const CommandContext& context);
int run_eval(const CommandContext& context);

}  // namespace saber
