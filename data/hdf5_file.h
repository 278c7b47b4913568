// HDF5 files: read defensively, written reproducibly. hdf5.h itself is included by hdf5_*.cpp only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace saber {

// Owns one identifier of the HDF5 library; a moved-from handle owns nothing.
class Hdf5Handle {
 public:
  using Close = int (*)(std::int64_t);

  Hdf5Handle() = default;
  Hdf5Handle(std::int64_t id, Close close) : id_(id), close_(close) {}
  ~Hdf5Handle() { reset(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), close_(std::exchange(other.close_, nullptr)) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    reset();
    id_ = std::exchange(other.id_, -1);
    close_ = std::exchange(other.close_, nullptr);
    return *this;
  }
  Hdf5Handle(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(const Hdf5Handle&) = delete;

  std::int64_t get() const { return id_; }
  // Closes now; returns HDF5's status (0 when there was nothing to close).
  int reset() noexcept { return id_ < 0 ? 0 : std::exchange(close_, nullptr)(std::exchange(id_, -1)); }

 private:
  std::int64_t id_ = -1;
  Close close_ = nullptr;
};

using Shape = std::vector<std::int64_t>;
inline constexpr std::int64_t kAnySize = -1;  // in a wanted shape

std::string text_of(const Shape& shape);  // "[3, any]"

// Names are absolute paths ("/tasks/name"). Everything that is wrong with the file throws bad_input whose place names
// the file and the data set. Only hard links are followed; virtual data sets and external storage are refused, and so
// are sizes that the file cannot hold: more than 2^40 elements, contiguous data beyond the end of the file, or chunked
// data of more than 1,000 times the file's size.
class Hdf5Reader {
 public:
  explicit Hdf5Reader(const std::filesystem::path& path);

  // Checks the attributes `format` and `version` of the root.
  void require_format(const std::string& format, std::int64_t version) const;

  bool has(const std::string& name) const;
  Shape shape(const std::string& name) const;
  // T is uint8, int32, int64 or double, and must be the stored type (in either byte order).
  template <class T>
  std::vector<T> read(const std::string& name, const Shape& wanted) const;
  // float16, float32, or bfloat16 kept as uint16 with the attribute dtype="bfloat16".
  std::vector<float> read_floats(const std::string& name, const Shape& wanted) const;
  // Rows [first, first + count) of dimension 0 alone.
  std::vector<float> read_float_rows(const std::string& name, const Shape& wanted, std::int64_t first,
                                     std::int64_t count) const;
  // One dimension; variable or fixed length, null- or space-padded, valid UTF-8.
  std::vector<std::string> read_strings(const std::string& name, std::int64_t wanted_size) const;

  // Attributes of the root.
  std::string text_attribute(const std::string& name) const;
  std::int64_t int_attribute(const std::string& name) const;

  // "FILE", "FILE /name" or "FILE /name row 17", for messages.
  std::string place(const std::string& name = {}, std::int64_t row = -1) const;

 private:
  struct DataSet {
    Hdf5Handle set;
    Hdf5Handle type;
    Shape shape;
    std::string place;
    std::int64_t size = 0;  // elements
  };
  DataSet open(const std::string& name) const;
  DataSet open(const std::string& name, const Shape& wanted) const;
  void refuse_hostile_storage(const DataSet& data) const;
  std::optional<std::string> find_text_attribute(std::int64_t object, const std::string& name,
                                                 const std::string& where) const;
  std::vector<std::string> read_fixed_strings(const DataSet& data) const;
  std::vector<std::string> read_variable_strings(const DataSet& data) const;

  std::filesystem::path path_;
  std::int64_t file_bytes_ = 0;
  Hdf5Handle file_;
};

// Writes beside `path` and puts the file in its place at commit(); without it nothing remains. The same calls give the
// same bytes: contiguous data, no times, a pinned version of the format.
class Hdf5Writer {
 public:
  Hdf5Writer(const std::filesystem::path& path, const std::string& format, std::int64_t version);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  void add_group(const std::string& name);
  // T is uint8, int32, int64, float or double.
  template <class T>
  void write(const std::string& name, std::span<const T> values, const Shape& shape);
  // Variable-length UTF-8. A text which a reader would refuse throws bad_input.
  void write_strings(const std::string& name, const std::vector<std::string>& values);
  void set_attribute(const std::string& name, const std::string& value);
  void set_attribute(const std::string& name, std::int64_t value);
  void commit();

 private:
  Hdf5Handle create(const std::string& name, std::int64_t type, const Shape& shape);

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  Hdf5Handle file_;
  bool committed_ = false;
};

// Offset of the first byte that is no part of valid UTF-8, or is zero; nothing when the text is fine.
std::optional<std::size_t> first_bad_utf8(const std::string& text);

// Of the library that this process runs with, "1.10.8".
std::string hdf5_version();

}  // namespace saber
