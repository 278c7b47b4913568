// XXH3 checksums (128 bit for fingerprints and files, 64 bit for journal records). They guard against damage, not
// against forgery.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace saber {

// Feeds bytes piece by piece. Text is preceded by its length, so that "ab"+"c" and "a"+"bc" differ.
class Fingerprint {
 public:
  Fingerprint();
  ~Fingerprint();
  Fingerprint(const Fingerprint&) = delete;
  Fingerprint& operator=(const Fingerprint&) = delete;

  void add_bytes(const void* bytes, std::size_t size);
  void add_text(std::string_view text);
  template <class T>
  void add_values(std::span<const T> values) {
    begin_values(values.size());
    add_more(values);
  }
  // The same piece by piece: begin_values(total), then add_more() until all are there.
  void begin_values(std::uint64_t count) { add_bytes(&count, sizeof count); }
  template <class T>
  void add_more(std::span<const T> values) {
    add_bytes(values.data(), values.size_bytes());
  }
  // 32 lower-case hexadecimal digits.
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::uint64_t hash64(std::string_view bytes);
std::string hash128_hex(std::string_view bytes);
std::string hash128_hex_of_file(const std::filesystem::path& path);

}  // namespace saber
