#include "comm/host_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>
#include <string>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

constexpr std::int64_t kHead = 4096;  // bytes before a block, for the counters: a page, so that blocks begin with one

[[noreturn]] void fail(const std::string& call, int error) {
  throw Error(ErrorKind::io, call + ": " + std::strerror(error), "/dev/shm");
}

// A name in the host's shared memory, there until all ranks have mapped what it stands for.
class SharedName {
 public:
  SharedName() : text_(fmt::format("/saber-{}-{:08x}", getpid(), std::random_device()())) {}
  ~SharedName() { shm_unlink(text_.c_str()); }
  SharedName(const SharedName&) = delete;
  SharedName& operator=(const SharedName&) = delete;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class File {
 public:
  File(const std::string& name, int flags) : handle_(shm_open(name.c_str(), flags, S_IRUSR | S_IWUSR)) {
    if (handle_ < 0) fail("shm_open", errno);
  }
  ~File() { close(handle_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return handle_; }

 private:
  int handle_;
};

}  // namespace

// On cache lines of their own, since all ranks poll them.
struct HostMemory::Counters {
  alignas(128) std::atomic<std::int64_t> offered;
  alignas(128) std::atomic<std::int64_t> finished;
  static_assert(std::atomic<std::int64_t>::is_always_lock_free);
};

HostMemory::HostMemory(const MpiSession& session, std::int64_t bytes) : rank_(session.rank()), bytes_(kHead + bytes) {
  const SharedName mine;
  session.on_all([&] {
    const File file(mine.text(), O_CREAT | O_EXCL | O_RDWR);
    // Memory that is promised only would end the run at its first use.
    if (const int error = posix_fallocate(file.get(), 0, bytes_); error != 0) fail("posix_fallocate", error);
  });
  const std::vector<std::string> names = session.all_gather(mine.text());
  session.on_all([&] {
    for (const std::string& name : names) map(name);
  });
}

void HostMemory::Unmap::operator()(std::byte* mapping) const {
  munmap(mapping, to_index(bytes));
}

void HostMemory::map(const std::string& name) {
  const File file(name, O_RDWR);
  void* const address = mmap(nullptr, to_index(bytes_), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (address == MAP_FAILED) fail("mmap", errno);
  mappings_.emplace_back(static_cast<std::byte*>(address), Unmap{bytes_});
}

std::byte* HostMemory::block(int rank) const {
  return mappings_[to_index(rank)].get() + kHead;
}

bool HostMemory::holds(const void* address) const {
  const std::byte* const mine = mappings_[to_index(rank_)].get();
  return address >= mine + kHead && address < mine + bytes_;
}

void* HostMemory::counterpart(void* mine, int rank) const {
  return block(rank) + (static_cast<std::byte*>(mine) - block(rank_));
}

HostMemory::Counters& HostMemory::counters(int rank) const {
  return *reinterpret_cast<Counters*>(mappings_[to_index(rank)].get());
}

// Release and acquire: who sees a count sees all that its rank wrote before.
std::int64_t HostMemory::offer() {
  counters(rank_).offered.store(++last_offered_, std::memory_order_release);
  return last_offered_;
}

bool HostMemory::may_begin(std::int64_t turn) const {
  if (turn != last_finished_ + 1) return false;
  for (int r = 0; r < static_cast<int>(mappings_.size()); ++r) {
    if (counters(r).offered.load(std::memory_order_acquire) < turn) return false;
  }
  return true;
}

void HostMemory::finish(std::int64_t turn) {
  ensure(turn == last_finished_ + 1, "turns are finished in order");
  last_finished_ = turn;
  counters(rank_).finished.store(turn, std::memory_order_release);
}

bool HostMemory::all_finished(std::int64_t turn) const {
  for (int r = 0; r < static_cast<int>(mappings_.size()); ++r) {
    if (counters(r).finished.load(std::memory_order_acquire) < turn) return false;
  }
  return true;
}

}  // namespace saber
