// A program whose ranks make one kind of operation again and again, under the watchdog, until one of them is stopped,
// killed, delayed or goes its own way: tests/system/test_watchdog.py looks at how the others end.
//
//     stuck_rank OPERATION FAULT RANK STEPS [--check-order] [--patient]
//
// OPERATION: all-reduce, overlapped (a sum in memory that the ranks share, then one in messages), all-gather,
// broadcast, save. FAULT: none, stop, kill, delay, nap (and then go on), diverge, skip, slow. RANK: whose fault; STEPS:
// healthy steps before it.
#include <fmt/format.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "comm/mpi_order_check.h"
#include "comm/mpi_watchdog.h"
#include "comm/process_group.h"
#include "core/log.h"

namespace saber {
namespace {

constexpr double kDeadline = 4;
const auto kLong = std::chrono::seconds(300);

void operate(const MpiSession& session, c10d::ProcessGroup& group, const std::string& operation, at::Tensor& shared) {
  at::Tensor tensor = at::ones({10'000});
  if (operation == "all-reduce") return all_reduce_sum(group, tensor);
  if (operation == "broadcast") return broadcast_from_root(group, tensor);
  if (operation == "all-gather") {
    all_gather_values(group, std::vector<double>{1, 2, 3}, 3);
  } else if (operation == "save") {
    session.on_root([] { return std::string("saved"); }, "checkpoint save");
  } else {
    const auto works = {start_all_reduce_sum(group, shared), start_all_reduce_sum(group, tensor)};
    for (const auto& work : works) work->wait();
  }
}

void fail(const MpiSession& session, c10d::ProcessGroup& group, const std::string& fault) {
  if (fault == "stop") raise(SIGSTOP);
  if (fault == "kill") raise(SIGKILL);
  if (fault == "delay") std::this_thread::sleep_for(kLong);
  if (fault == "nap") std::this_thread::sleep_for(std::chrono::duration<double>(2 * kDeadline));
  if (fault == "diverge") group.barrier()->wait();
  if (fault == "skip") session.on_root([] { return std::string(); }, "another step");
}

int run(const MpiSession& session, const std::vector<std::string>& arguments) {
  const std::string &operation = arguments.at(0), &fault = arguments.at(1);
  const int rank = std::stoi(arguments.at(2)), steps = std::stoi(arguments.at(3));
  start_log(session.host(), session.rank(), "info");
  const auto given = [&](const char* option) {
    return std::find(arguments.begin() + 4, arguments.end(), option) != arguments.end();
  };
  const Watchdog watchdog(session, {30, kDeadline, given("--patient")});
  if (given("--check-order")) check_order_of_operations(session);
  const ProcessGroupPtr group = make_process_group(session, {});
  at::Tensor shared = zeros_to_sum(*group, 10'000, at::kFloat);
  const auto start = std::chrono::steady_clock::now();
  for (int step = 0; step < steps; ++step) {
    operate(session, *group, operation, shared);
    session.operations().settle();
    if (fault == "slow" && session.rank() == rank) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  if (session.is_root())
    spdlog::info("{} steps took {:.2f} s", steps,
                 std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  if (fault == "none" || fault == "slow") return 0;
  if (session.rank() == rank) fail(session, *group, fault);
  operate(session, *group, operation, shared);
  session.barrier();
  if (session.is_root()) spdlog::info("went on after rank {}'s fault", rank);
  return 0;
}

}  // namespace
}  // namespace saber

int main(int argc, char** argv) {
  const saber::MpiSession session(&argc, &argv);
  try {
    return saber::run(session, std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    spdlog::error("{}", error.what());
    session.abort(1);
  }
}
