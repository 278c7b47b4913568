#include "core/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "core/error.h"

namespace saber {
namespace fs = std::filesystem;
namespace {

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (fd_ < 0) throw_io("cannot open", path.string(), errno);
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  void write_all(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw_io("cannot write", path_.string(), errno);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  void sync() const {
    if (::fsync(fd_) != 0) throw_io("cannot flush to disk", path_.string(), errno);
  }
  void close() {
    if (::close(std::exchange(fd_, -1)) != 0) throw_io("cannot close", path_.string(), errno);
  }

 private:
  fs::path path_;
  int fd_;
};

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

std::string read_file(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) throw_bad_input("is a folder, wanted a file", path.string());
  std::ifstream in(path, std::ios::binary);
  if (!in) throw_bad_input(std::string("cannot open: ") + std::strerror(errno), path.string());
  std::ostringstream out;
  out << in.rdbuf();
  if (in.bad()) throw_io("cannot read", path.string(), errno);
  return std::move(out).str();
}

void write_file_durable(const fs::path& path, std::string_view bytes) {
  Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC);
  file.write_all(bytes);
  file.sync();
  file.close();
}

void write_file_atomic(const fs::path& path, std::string_view bytes) {
  const fs::path temporary = folder_of(path) / ("." + path.filename().string() + ".tmp");
  write_file_durable(temporary, bytes);
  rename_durable(temporary, path);
}

void sync_path(const fs::path& path) {
  Descriptor(path, O_RDONLY).sync();
}

void rename_durable(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) throw_io("cannot rename " + from.string(), to.string(), errno);
  sync_path(folder_of(to));
}

void create_folders(const fs::path& path) {
  std::error_code code;
  fs::create_directories(path, code);
  if (code) throw_io("cannot create the folder", path.string(), code.value());
}

}  // namespace saber
