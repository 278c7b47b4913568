#include "core/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <cerrno>
#include <fstream>
#include <vector>

#include "core/error.h"

namespace saber {

struct Fingerprint::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

namespace {
std::string hex_of(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}
}  // namespace

Fingerprint::Fingerprint() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(state_->xxh);
}
Fingerprint::~Fingerprint() = default;

void Fingerprint::add_bytes(const void* bytes, std::size_t size) {
  XXH3_128bits_update(state_->xxh, bytes, size);
}

void Fingerprint::add_text(std::string_view text) {
  const auto size = static_cast<std::uint64_t>(text.size());
  add_bytes(&size, sizeof size);
  add_bytes(text.data(), text.size());
}

std::string Fingerprint::hex() const {
  return hex_of(XXH3_128bits_digest(state_->xxh));
}

std::uint64_t hash64(std::string_view bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::string hash128_hex(std::string_view bytes) {
  return hex_of(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string hash128_hex_of_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw_io("cannot open", path.string(), errno);
  Fingerprint fingerprint;
  std::vector<char> buffer(1 << 20);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), in.gcount() > 0) {
    fingerprint.add_bytes(buffer.data(), static_cast<std::size_t>(in.gcount()));
  }
  if (in.bad()) throw_io("cannot read", path.string(), errno);
  return fingerprint.hex();
}

}  // namespace saber
