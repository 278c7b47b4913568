// What hdf5_*.cpp share: the C header and the one way to call it.
#pragma once

#include <hdf5.h>

#include <filesystem>
#include <string>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "data/hdf5_file.h"

namespace saber::hdf5 {

static_assert(std::is_same_v<hid_t, std::int64_t> && std::is_same_v<herr_t, int>);

// HDF5's own description of what went wrong, innermost first, as an Error.
[[noreturn]] void throw_failed_call(const char* call, ErrorKind kind, const std::string& place);

// Quiet error stack (it is one per thread) and no filter plugins loaded from paths of the environment.
void prepare_library();

// What compressed or shared storage of a file may grow to in memory; zlib itself ends at 1,032 times.
inline std::int64_t max_expanded_bytes(std::int64_t file_bytes) {
  return 1000 * file_bytes + (1 << 20);
}

// Variable-length strings are read as what the file holds in their place, references of 16 bytes (files with 64-bit
// addresses), through this memory type; the texts are then taken from the file without HDF5 (hdf5_strings.cpp says
// why).
inline constexpr std::size_t kReferenceBytes = 16;
Hdf5Handle reference_type(const std::string& place);

struct FileOfTexts {
  std::filesystem::path path;
  std::int64_t bytes;
  hid_t id;
};
std::vector<std::string> texts_of(const std::vector<char>& references, const FileOfTexts& origin,
                                  const std::string& place);

template <class Result>
Result checked(Result result, const char* call, ErrorKind kind, const std::string& place) {
  if (result < 0) throw_failed_call(call, kind, place);
  return result;
}

}  // namespace saber::hdf5

// Evaluates a call; a negative result becomes an Error that carries the call's text.
#define SABER_HDF5(kind, place, ...) \
  ::saber::hdf5::checked(__VA_ARGS__, #__VA_ARGS__, ::saber::ErrorKind::kind, (place))
