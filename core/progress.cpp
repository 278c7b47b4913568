#include "core/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <utility>

#include "core/log.h"

namespace saber {
namespace {

constexpr std::chrono::milliseconds kTerminalInterval{200};
constexpr std::chrono::seconds kFileInterval{10};

std::string clock_text(double seconds) {
  const std::int64_t whole = std::llround(seconds);
  return whole >= 3600 ? fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
                       : fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

Progress::Progress(std::string what, std::string unit, std::int64_t total, bool silent)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      silent_(silent),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      last_print_(start_) {}

Progress::~Progress() {
  if (!silent_ && terminal_ && done_ > 0) fmt::print(stderr, "\n");
}

double Progress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Progress::add(std::int64_t count, const std::string& detail) {
  done_ += count;
  if (silent_) return;
  const auto now = std::chrono::steady_clock::now();
  const bool due = terminal_ ? now - last_print_ >= kTerminalInterval : now - last_print_ >= kFileInterval;
  if (!due && done_ != total_) return;
  last_print_ = now;
  print(detail);
}

void Progress::print(const std::string& detail) const {
  const double elapsed = seconds();
  const double rate = elapsed > 0 ? static_cast<double>(done_) / elapsed : 0;
  const double left = rate > 0 ? static_cast<double>(total_ - done_) / rate : 0;
  const std::string line = fmt::format("{}: {} of {} {}, {:.1f} {}/s, {} left{}{}", what_, done_, total_, unit_, rate,
                                       unit_, clock_text(left), detail.empty() ? "" : ", ", detail);
  if (terminal_) {
    fmt::print(stderr, "\r\033[K{}", line);
  } else {
    spdlog::info("{}", line);
  }
}

}  // namespace saber
