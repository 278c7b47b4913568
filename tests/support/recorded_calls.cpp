// The functions of libc are overridden by those of the test program, which pass every call on.
#include "tests/support/recorded_calls.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <mutex>
#include <optional>
#include <utility>

namespace saber::test {
namespace {

namespace fs = std::filesystem;

std::mutex mutex;
std::optional<fs::path> watched;  // while something is recorded
std::vector<std::string> calls;

// Nothing for what lies elsewhere.
std::optional<std::string> name_below(const fs::path& folder, const fs::path& path) {
  std::error_code ignored;  // the last name itself may not be there any more
  const fs::path whole = path == folder ? path : fs::weakly_canonical(path.parent_path(), ignored) / path.filename();
  const fs::path relative = whole.lexically_relative(folder);
  if (relative.empty() || *relative.begin() == "..") return std::nullopt;
  return relative.string();
}

void record(const char* call, const fs::path& first, const fs::path& second = {}) {
  const std::lock_guard lock(mutex);
  if (!watched) return;
  const auto name = name_below(*watched, first);
  if (!name) return;
  calls.push_back(std::string(call) + " " + *name);
  if (!second.empty()) calls.back() += " " + name_below(*watched, second).value_or(second.string());
}

void record(const char* call, int descriptor) {
  {
    const std::lock_guard lock(mutex);
    if (!watched) return;
  }
  const int before = errno;
  std::error_code ignored;
  record(call, fs::read_symlink("/proc/self/fd/" + std::to_string(descriptor), ignored));
  errno = before;
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

std::vector<std::string> recorded_calls(const fs::path& folder, const std::function<void()>& work) {
  {
    const std::lock_guard lock(mutex);
    watched = fs::canonical(folder);
    calls.clear();
  }
  work();
  const std::lock_guard lock(mutex);
  watched.reset();
  return std::exchange(calls, {});
}

}  // namespace saber::test

using saber::test::next;
using saber::test::record;

extern "C" {

ssize_t write(int descriptor, const void* bytes, size_t size) {
  record("write", descriptor);
  return next<ssize_t(int, const void*, size_t)>("write")(descriptor, bytes, size);
}

int fsync(int descriptor) {
  record("sync", descriptor);
  return next<int(int)>("fsync")(descriptor);
}

int fdatasync(int descriptor) {
  record("sync", descriptor);
  return next<int(int)>("fdatasync")(descriptor);
}

int rename(const char* from, const char* to) noexcept {
  record("rename", from, to);
  return next<int(const char*, const char*)>("rename")(from, to);
}

}  // extern "C"
