// Changes HDF5 files behind the back of the code under test: other layouts that must be read, and damage that must be
// refused. hdf5.h is included by the .cpp only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace saber::testing_data {

enum class FloatKind { float16, bfloat16, float32_big_endian, float64 };
enum class Storage { contiguous, chunked, gzip };

// Functions that store replace what is there. Any failure of HDF5 throws std::runtime_error.
class Hdf5Surgery {
 public:
  explicit Hdf5Surgery(const std::filesystem::path& path);
  ~Hdf5Surgery();
  Hdf5Surgery(const Hdf5Surgery&) = delete;
  Hdf5Surgery& operator=(const Hdf5Surgery&) = delete;

  void remove(const std::string& name);
  void set_float(const std::string& name, std::size_t index, float value);
  void set_int(const std::string& name, std::size_t index, std::int64_t value);
  void set_int_attribute(const std::string& name, std::int64_t value);
  // Stores the same numbers in another type or layout.
  void restore_floats(const std::string& name, FloatKind kind, Storage storage);
  void store_ints(const std::string& name, const std::vector<std::int32_t>& values, std::vector<std::uint64_t> shape);
  void store_fixed_strings(const std::string& name, const std::vector<std::string>& values, std::size_t length,
                           bool space_padded);
  void store_variable_strings(const std::string& name, const std::vector<std::string>& values, Storage storage);

  void move_to_external_link(const std::string& name, const std::string& target_file, const std::string& target);
  void move_to_soft_link(const std::string& name, const std::string& target);
  // int64 [rows] whose numbers lie in another file.
  void store_virtual(const std::string& name, std::uint64_t rows, const std::string& source_file,
                     const std::string& source);
  void store_external(const std::string& name, std::uint64_t rows, const std::string& raw_file);
  // int64 chunked data set of which nothing is written, so that the file stays small.
  void declare_chunked(const std::string& name, std::vector<std::uint64_t> shape, std::vector<std::uint64_t> chunk);

 private:
  void drop_if_there(const std::string& name);
  std::vector<std::uint64_t> shape_of(const std::string& name);

  std::int64_t file_;
};

}  // namespace saber::testing_data
