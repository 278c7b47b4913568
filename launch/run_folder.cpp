#include "launch/run_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>

#include "core/atomic_file.h"
#include "core/error.h"

namespace saber {
namespace {

// The leading lines of steps up to `last_step`.
std::string kept_lines(const std::filesystem::path& path, std::int64_t last_step) {
  if (last_step == 0 || !std::filesystem::exists(path)) return {};
  const std::string text = read_file(path);
  std::size_t end = 0;
  for (std::size_t newline; (newline = text.find('\n', end)) != std::string::npos; end = newline + 1) {
    const auto line = nlohmann::json::parse(text.substr(end, newline - end), nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() || line.value("step", last_step + 1) > last_step) break;
  }
  return text.substr(0, end);
}

}  // namespace

void for_each_reward(const std::string& samples,
                     const std::function<void(const std::string&, std::optional<double>)>& use) {
  std::istringstream lines(samples);
  for (std::string text; std::getline(lines, text);) {
    const auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() || !line.contains("rewards")) continue;
    const auto& names = line.at("samples");
    const auto& rewards = line.at("rewards");
    for (std::size_t i = 0; i < names.size(); ++i) {
      use(names.at(i), rewards.at(i).is_null() ? std::nullopt : std::optional(rewards.at(i).get<double>()));
    }
  }
}

StepLog::StepLog(const std::filesystem::path& path, std::int64_t last_step) : path_(path) {
  write_file_atomic(path, kept_lines(path, last_step));
  fd_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd_ < 0) throw_io("cannot open", path.string(), errno);
}

StepLog::~StepLog() {
  ::close(fd_);
}

void StepLog::write(const nlohmann::ordered_json& line) {
  const std::string text = line.dump() + "\n";
  if (::write(fd_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    throw_io("cannot write", path_.string(), errno);
}

void StepLog::sync() {
  if (::fsync(fd_) != 0) throw_io("cannot flush to disk", path_.string(), errno);
}

}  // namespace saber
