// The one error type. Code below main throws it; main prints it once and picks the exit status.
#pragma once

#include <stdexcept>
#include <string>

namespace saber {

enum class ErrorKind {
  bad_input,      // a setting, file or argument that the user can mend: exit status 2
  io,             // the file system refused: exit status 1
  not_available,  // asked for a part that this build or machine lacks: exit status 2
  internal,       // a broken promise of our own code: exit status 1
};

class Error : public std::runtime_error {
 public:
  // message: what was found and what was wanted. place: file, data set, row or key. hint: what to do. The last two may
  // be empty.
  Error(ErrorKind kind, std::string message, std::string place = {}, std::string hint = {});

  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }
  const std::string& place() const { return place_; }
  const std::string& hint() const { return hint_; }
  int exit_status() const;

 private:
  ErrorKind kind_;
  std::string message_;
  std::string place_;
  std::string hint_;
};

// Shorthands, since these two make up nearly all throws.
[[noreturn]] void throw_bad_input(std::string message, std::string place = {}, std::string hint = {});
[[noreturn]] void throw_io(const std::string& what_failed, const std::string& path, int error_number);

[[noreturn]] void throw_broken_promise(const char* promise);

// Throws ErrorKind::internal when `condition` is false: for promises of our own code, in every build.
inline void ensure(bool condition, const char* promise) {
  if (!condition) throw_broken_promise(promise);
}

}  // namespace saber
