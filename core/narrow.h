// Conversions between integer types that would lose a value throw instead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "core/error.h"

namespace saber {

template <class To, class From>
To narrow(From value) {
  if (!std::in_range<To>(value)) {
    throw Error(ErrorKind::internal, "number " + std::to_string(value) + " does not fit its type");
  }
  return static_cast<To>(value);
}

// Sizes of containers as the signed 64-bit numbers used everywhere.
template <class Container>
std::int64_t size_of(const Container& container) {
  return static_cast<std::int64_t>(container.size());
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// Signed to unsigned for subscripts; negative numbers are a bug and throw in `at`-style code, not here.
inline std::size_t to_index(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

}  // namespace saber
