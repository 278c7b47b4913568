#include "core/hash.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"

namespace saber {
namespace {

std::string fingerprint_of_texts(const std::vector<std::string>& texts) {
  Fingerprint fingerprint;
  for (const std::string& text : texts) fingerprint.add_text(text);
  return fingerprint.hex();
}

TEST(Hash, KnownAnswersOfXxh3) {
  EXPECT_EQ(hash64(""), 0x2d06800538d394c2U);
  EXPECT_EQ(hash128_hex(""), "99aa06d3014798d86001c324468d497f");
}

TEST(Hash, BoundariesOfTextsCount) {
  EXPECT_NE(fingerprint_of_texts({"ab", "c"}), fingerprint_of_texts({"a", "bc"}));
  EXPECT_NE(fingerprint_of_texts({"", "a"}), fingerprint_of_texts({"a", ""}));
  EXPECT_EQ(fingerprint_of_texts({"ab", "c"}), fingerprint_of_texts({"ab", "c"}));
}

TEST(Hash, BoundariesOfValuesCount) {
  const std::array<std::int32_t, 3> values{1, 2, 3};
  const std::span<const std::int32_t> all(values);
  Fingerprint one, two;
  one.add_values(all);
  two.add_values(all.first(1));
  two.add_values(all.last(2));
  EXPECT_NE(one.hex(), two.hex());
}

TEST(Hash, PiecesOfBytesJoin) {
  Fingerprint pieces;
  pieces.add_bytes("hello ", 6);
  pieces.add_bytes("world", 5);
  EXPECT_EQ(pieces.hex(), hash128_hex("hello world"));
}

TEST(Hash, OfAFileIsOfItsBytes) {
  const auto path = std::filesystem::path(testing::TempDir()) / ("saber-hash-" + std::to_string(getpid()));
  // Longer than the buffer that the file is read through, and not a multiple of it.
  for (const std::size_t size : {std::size_t{0}, std::size_t{1} << 20, (std::size_t{1} << 20) + 17}) {
    const std::string bytes(size, 'q');
    write_file_durable(path, bytes);
    EXPECT_EQ(hash128_hex_of_file(path), hash128_hex(bytes)) << size;
  }
  std::filesystem::remove(path);
  EXPECT_THROW(hash128_hex_of_file(path), Error);
}

}  // namespace
}  // namespace saber
