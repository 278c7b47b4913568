// Numbers from text, all of it: "12" but not "12x", " 12" or "".
#pragma once

#include <charconv>
#include <string>
#include <system_error>

namespace saber {

// False, with `value` unspecified, when the text is not a number of that type.
template <class T>
bool parse_number(const std::string& text, T& value) {
  const char* const end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, value);
  return code == std::errc{} && stop == end;
}

}  // namespace saber
