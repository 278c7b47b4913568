#include "data/hdf5_file.h"

#include "core/narrow.h"
#include "data/hdf5_call.h"

namespace saber {
namespace {

herr_t keep_first_reason(unsigned /*depth*/, const H5E_error2_t* error, void* reason) {
  auto& text = *static_cast<std::string*>(reason);
  if (text.empty() && error->desc != nullptr) text = error->desc;
  return 0;
}

// Length of the UTF-8 sequence at `text[i]`, 0 when there is none (overlong, surrogate, beyond U+10FFFF, cut off).
std::size_t utf8_length(const std::string& text, std::size_t i) {
  const auto byte = [&](std::size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U; };
  const auto follows = [&](std::size_t at) { return (byte(at) & 0xC0U) == 0x80U; };
  const unsigned first = byte(i);
  if (first < 0x80U) return first == 0 ? 0 : 1;
  if (first >= 0xC2U && first <= 0xDFU) return follows(i + 1) ? 2 : 0;
  const unsigned second = byte(i + 1);
  if (!follows(i + 1) || !follows(i + 2)) return 0;
  if ((first & 0xF0U) == 0xE0U) {
    const bool overlong = first == 0xE0U && second < 0xA0U;
    const bool surrogate = first == 0xEDU && second > 0x9FU;
    return overlong || surrogate ? 0 : 3;
  }
  const bool in_range =
      (first == 0xF0U && second >= 0x90U) || (first >= 0xF1U && first <= 0xF3U) || (first == 0xF4U && second <= 0x8FU);
  return in_range && follows(i + 3) ? 4 : 0;
}

}  // namespace

namespace hdf5 {

void throw_failed_call(const char* call, ErrorKind kind, const std::string& place) {
  std::string reason;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first_reason, &reason);
  if (reason.empty()) reason = "HDF5 gives no reason";
  const bool cut_off = reason.find("truncated") != std::string::npos;
  throw Error(kind, reason + " [" + call + "]", place, cut_off ? "the file is cut off: copy or write it again" : "");
}

void prepare_library() {
  SABER_HDF5(internal, "HDF5", H5open());
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  SABER_HDF5(internal, "HDF5", H5PLset_loading_state(0));
}

}  // namespace hdf5

std::string text_of(const Shape& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) {
    if (text.size() > 1) text += ", ";
    text += size == kAnySize ? "any" : std::to_string(size);
  }
  return text + "]";
}

std::optional<std::size_t> first_bad_utf8(const std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    if (length == 0) return i;
    i += length;
  }
  return std::nullopt;
}

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  if (H5get_libversion(&major, &minor, &release) < 0) return "unknown";
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(release);
}

}  // namespace saber
