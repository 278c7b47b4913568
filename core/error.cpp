#include "core/error.h"

#include <cstring>
#include <utility>

namespace saber {
namespace {

std::string full_text(const std::string& message, const std::string& place, const std::string& hint) {
  std::string text = place.empty() ? message : place + ": " + message;
  if (!hint.empty()) text += " (" + hint + ")";
  return text;
}

}  // namespace

Error::Error(ErrorKind kind, std::string message, std::string place, std::string hint)
    : std::runtime_error(full_text(message, place, hint)),
      kind_(kind),
      message_(std::move(message)),
      place_(std::move(place)),
      hint_(std::move(hint)) {}

int Error::exit_status() const {
  return kind_ == ErrorKind::bad_input || kind_ == ErrorKind::not_available ? 2 : 1;
}

void throw_bad_input(std::string message, std::string place, std::string hint) {
  throw Error(ErrorKind::bad_input, std::move(message), std::move(place), std::move(hint));
}

void throw_io(const std::string& what_failed, const std::string& path, int error_number) {
  throw Error(ErrorKind::io, what_failed + ": " + std::strerror(error_number), path);
}

void throw_broken_promise(const char* promise) {
  throw Error(ErrorKind::internal, promise, "internal check");
}

}  // namespace saber
