#include "trainer/formats/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "core/atomic_file.h"
#include "core/error.h"

namespace saber {
namespace {

namespace fs = std::filesystem;

class Safetensors : public testing::Test {
 protected:
  Safetensors() : path_(fs::path(testing::TempDir()) / ("saber-safetensors-" + std::to_string(getpid()))) {}
  ~Safetensors() override { fs::remove(path_); }

  SafetensorsFile read(const std::string& bytes) const {
    write_file_durable(path_, bytes);
    return read_safetensors(path_);
  }

  // A file made by hand from header and data.
  static std::string file_of(const std::string& header, const std::string& data) {
    const std::uint64_t size = header.size();
    std::string out(sizeof size, '\0');
    std::memcpy(out.data(), &size, sizeof size);
    return out + header + data;
  }

  void expect_refused(const std::string& bytes, const std::string& reason) const {
    try {
      read(bytes);
      ADD_FAILURE() << "accepted, wanted: " << reason;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_input);
      EXPECT_NE(error.message().find(reason), std::string::npos) << error.what();
      EXPECT_NE(error.place().find(path_.string()), std::string::npos) << error.what();
    }
  }

  const fs::path path_;
};

TEST_F(Safetensors, RoundTripOfEveryTypeAndShape) {
  NamedTensors tensors;
  for (const at::ScalarType type :
       {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kByte}) {
    tensors[std::string("type.") + c10::toString(type)] = at::arange(6).reshape({2, 3}).to(type);
  }
  tensors["scalar"] = at::full({}, 2.5);
  tensors["empty"] = at::empty({0, 4});
  tensors["strided"] = at::arange(6).reshape({2, 3}).t();
  tensors["\"quoted\" \\ \n"] = at::ones({1}, at::kByte);
  const SafetensorsFile file = read(to_safetensors(tensors, {{"who", "tests"}}));
  ASSERT_EQ(file.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(file.tensors.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(file.tensors.at(name), tensor)) << name;
  }
  EXPECT_EQ(file.metadata.at("who"), "tests");
  EXPECT_TRUE(read(to_safetensors({}, {})).tensors.empty());
}

TEST_F(Safetensors, BytesAreThoseOfTheFormat) {
  const std::string header = R"({"w":{"data_offsets":[0,4],"dtype":"I32","shape":[1]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  EXPECT_EQ(to_safetensors({{"w", at::full({1}, 0x01020304, at::kInt)}}, {}), file_of(padded, "\4\3\2\1"));
}

TEST_F(Safetensors, EveryTensorIsAligned) {
  const std::string bytes = to_safetensors({{"a", at::ones({3}, at::kByte)}, {"b", at::ones({2}, at::kDouble)}}, {});
  EXPECT_NE(bytes.find(R"("data_offsets":[0,16],"dtype":"F64")"), std::string::npos);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  EXPECT_EQ(header % 8, 0U);
}

TEST_F(Safetensors, RefusesOtherTypesOnWriting) {
  EXPECT_THROW(to_safetensors({{"w", at::ones({1}, at::kBool)}}, {}), Error);
}

TEST_F(Safetensors, RefusesAFileCutAnywhere) {
  const std::string whole = to_safetensors({{"w", at::ones({2})}, {"n", at::ones({1}, at::kByte)}}, {{"a", "b"}});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(read(whole.substr(0, size)), Error) << size;
  }
  EXPECT_THROW(read(whole + "x"), Error);
}

TEST_F(Safetensors, RefusesHostileHeaders) {
  const auto entry = [](const std::string& shape, const std::string& offsets) {
    return R"({"w":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  const std::string four(4, 'x'), eight(8, 'x');
  expect_refused(std::string(8, '\xff') + "{}", "claims a header");
  expect_refused(std::string("\0\0\0\0\0\1\0\0", 8) + "{}", "claims a header of 1099511627776 bytes");
  expect_refused(file_of("{\"w\":", ""), "not JSON");
  expect_refused(file_of("[]", ""), "no JSON object");
  expect_refused(file_of(std::string(100'000, '['), ""), "not JSON");
  expect_refused(file_of(R"({"w":7})", ""), "wanted exactly");
  expect_refused(file_of(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", four), "wanted exactly");
  expect_refused(file_of(R"({"w":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", four), "type F99");
  expect_refused(file_of(entry("[4611686018427387904,4]", "[0,0]"), ""), "too large");
  expect_refused(file_of(entry("[0,4611686018427387904,4]", "[0,0]"), ""), "too large");
  expect_refused(file_of(entry("[1000000000000]", "[0,4000000000000]"), four), "needs 4000000000000 bytes");
  expect_refused(file_of(entry("[18446744073709551615]", "[0,4]"), four), "no size");
  expect_refused(file_of(entry("[-1]", "[0,4]"), four), "no size");
  expect_refused(file_of(entry("[1.0]", "[0,4]"), four), "no size");
  expect_refused(file_of(entry("1", "[0,4]"), four), "no proper shape");
  expect_refused(file_of(entry("[1]", "[0,4,8]"), four), "no pair");
  expect_refused(file_of(entry("[1]", "[4,0]"), four), "offsets are 4 to 0");
  expect_refused(file_of(entry("[2]", "[0,4]"), four), "needs 8 bytes");
  expect_refused(file_of(entry("[1]", "[4,8]"), eight), "starts at byte 4");
  expect_refused(file_of(entry("[1]", "[0,4]"), eight), "fill 4 of 8");
  expect_refused(file_of(R"({"__metadata__":{"a":1}})", ""), "wanted a text");
  const std::string one = R"("w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  const std::string overlapping = R"("v":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  expect_refused(file_of("{" + one + "," + one + "}", four), "there twice");
  expect_refused(file_of("{" + one + "," + overlapping + "}", eight), "starts at byte 0, wanted 4");
}

TEST_F(Safetensors, ErrorsNameTheTensor) {
  try {
    read(file_of(R"({"layer.3.w":{"dtype":"F32","shape":[1],"data_offsets":[0,5]}})", "xxxxx"));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(error.place().find("layer.3.w"), std::string::npos);
  }
}

TEST(LoadInto, CopiesAllOrNothing) {
  at::Tensor a = at::zeros({2}).requires_grad_(), b = at::zeros({3});
  const NamedTensors target{{"a", a}, {"b", b}};
  EXPECT_THROW(load_into(target, {{"a", at::ones({2})}}, "file"), Error);
  EXPECT_THROW(load_into(target, {{"a", at::ones({2})}, {"b", at::ones({4})}}, "file"), Error);
  EXPECT_THROW(load_into(target, {{"a", at::ones({2})}, {"b", at::ones({3}, at::kDouble)}}, "file"), Error);
  EXPECT_THROW(load_into(target, {{"a", at::ones({2})}, {"b", at::ones({3})}, {"c", at::ones({1})}}, "file"), Error);
  EXPECT_TRUE(at::equal(a, at::zeros({2})));
  load_into(target, {{"a", at::ones({2})}, {"b", at::full({3}, 2.0)}}, "file");
  EXPECT_TRUE(at::equal(a, at::ones({2})));
  EXPECT_TRUE(at::equal(b, at::full({3}, 2.0)));
  EXPECT_TRUE(a.is_leaf());
}

}  // namespace
}  // namespace saber
