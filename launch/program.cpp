#include "launch/program.h"

#include <fmt/format.h>
#include <malloc.h>
#include <torch/torch.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "comm/agreed_error.h"
#include "comm/mpi_order_check.h"
#include "comm/mpi_session.h"
#include "comm/mpi_watchdog.h"
#include "comm/own_device.h"
#include "core/log.h"
#include "launch/command_line.h"
#include "launch/commands.h"

namespace saber {
namespace {

// glibc gives blocks of a few megabytes back to the kernel after every step, only to get them again, zeroed, in the
// next one. They stay now; larger ones, of data sets, still go back.
void keep_freed_memory() {
  constexpr int kLargestKept = 32 << 20, kMostKept = 1 << 30;
  mallopt(M_MMAP_THRESHOLD, kLargestKept);
  mallopt(M_TRIM_THRESHOLD, kMostKept);
}

int dispatch(const MpiSession& session, const Settings& settings, const CommandLine& line) {
  const Command& command = command_of(line.command);
  const Watchdog watchdog(session, {static_cast<double>(settings.comm.first_deadline_s),
                                    static_cast<double>(settings.comm.deadline_s), command.patient});
  if (settings.comm.check_order) check_order_of_operations(session);
  CommandContext context{session, settings, line.action, torch::kCPU, {}};
  if (!command.uses_models) return command.run(context);
  context.device = own_device(session, settings.device);
  const bool over_gpus = command.exchange == Exchange::gradients ||
                         (command.exchange == Exchange::sharded_selections && settings.model.head == "sharded");
  session.on_all([&] {
    travels_over_nccl(settings.comm.backend, context.device);  // throws where the two do not fit
    context.group =
        over_gpus ? make_process_group(session, settings.comm, context.device) : make_process_group(session, {"mpi"});
  });
  return command.run(context);
}

// Rank 0 reads the command line and the files it names; all ranks get the result.
CommandLine agree_on_command_line(const MpiSession& session, int argc, char** argv, Settings& settings) {
  const std::string agreed = session.on_root([&] {
    const CommandLine line = parse_command_line(argc, argv, settings);
    return nlohmann::json{{"command", line.command},
                          {"action", line.action},
                          {"check_only", line.check_only},
                          {"print", line.print},
                          {"settings", settings.schema.values()}}
        .dump();
  });
  const auto json = nlohmann::json::parse(agreed);
  settings.schema.restore(json.at("settings"));
  return {json.at("command"), json.at("action"), json.at("check_only"), json.at("print")};
}

int run(const MpiSession& session, int argc, char** argv, const ScorerKinds& kinds) {
  Settings settings(kinds);
  const CommandLine line = agree_on_command_line(session, argc, argv, settings);
  const bool print = !line.print.empty() || line.check_only;
  if (print) {
    if (session.is_root()) fmt::print("{}", line.print.empty() ? settings.schema.values().dump(2) + "\n" : line.print);
    return 0;
  }
  start_log(session.host(), session.rank(), settings.log_level);
  const int threads = settings.num_threads > 0 ? static_cast<int>(settings.num_threads) : session.num_threads();
  at::set_num_threads(threads);
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);  // looks for bugs, for 3 % of a step
  at::globalContext().setAllowTF32CuBLAS(false);                       // float32 is float32 on a GPU, too
  at::globalContext().setAllowTF32CuDNN(false);
  return dispatch(session, settings, line);
}

// Runs the command; turns every error into one log line and an exit status.
int run_and_report(const MpiSession& session, int argc, char** argv, const ScorerKinds& kinds) {
  start_log(session.host(), session.rank(), "info");
  int status = 1;
  try {
    return run(session, argc, argv, kinds);
  } catch (const AgreedError& error) {  // all ranks know of it and leave by themselves
    if (!error.reported_elsewhere()) spdlog::error("{}", error.what());
    return error.exit_status();
  } catch (const Error& error) {
    spdlog::error("{}", error.what());
    status = error.exit_status();
  } catch (const std::exception& error) {
    spdlog::error("{}", error.what());
  }
  if (session.world_size() > 1) session.abort(status);
  return status;
}

}  // namespace

int run_program(int argc, char** argv, const ScorerKinds& kinds) {
  keep_freed_memory();
  try {
    const MpiSession session(&argc, &argv);
    return run_and_report(session, argc, argv, kinds);
  } catch (const std::exception& error) {  // MPI itself did not start
    spdlog::error("{}", error.what());
    return 1;
  }
}

}  // namespace saber
