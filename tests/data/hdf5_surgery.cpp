#include "tests/data/hdf5_surgery.h"

#include <hdf5.h>

#include <bit>
#include <functional>
#include <numeric>
#include <stdexcept>

namespace saber::testing_data {
namespace {

template <class Result>
Result must(Result result) {
  if (result < 0) throw std::runtime_error("HDF5 call of a test failed");
  return result;
}

std::size_t volume(const std::vector<std::uint64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
}

std::vector<hsize_t> as_hsize(const std::vector<std::uint64_t>& shape) {
  return {shape.begin(), shape.end()};
}

hid_t space_of(const std::vector<std::uint64_t>& shape) {
  return must(H5Screate_simple(static_cast<int>(shape.size()), as_hsize(shape).data(), nullptr));
}

// Creates a data set, writes `values` unless null, closes everything that it was given.
void create(hid_t file, const std::string& name, hid_t type, hid_t space, hid_t properties, hid_t memory_type,
            const void* values) {
  const hid_t set = must(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  if (values != nullptr) must(H5Dwrite(set, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
  must(H5Dclose(set));
  must(H5Sclose(space));
  if (properties != H5P_DEFAULT) must(H5Pclose(properties));
}

hid_t properties_for(Storage storage, const std::vector<std::uint64_t>& shape) {
  const hid_t properties = must(H5Pcreate(H5P_DATASET_CREATE));
  if (storage == Storage::contiguous) return properties;
  std::vector<hsize_t> chunk = as_hsize(shape);
  chunk[0] = (chunk[0] + 2) / 3;
  must(H5Pset_chunk(properties, static_cast<int>(chunk.size()), chunk.data()));
  if (storage == Storage::gzip) must(H5Pset_deflate(properties, 6));
  return properties;
}

hid_t float16_type() {
  const hid_t type = must(H5Tcopy(H5T_IEEE_F32LE));
  must(H5Tset_fields(type, 15, 10, 5, 0, 10));
  must(H5Tset_size(type, 2));
  must(H5Tset_ebias(type, 15));
  return type;
}

hid_t text_type(std::size_t length) {
  const hid_t type = must(H5Tcopy(H5T_C_S1));
  must(H5Tset_size(type, length));
  must(H5Tset_cset(type, H5T_CSET_UTF8));
  return type;
}

}  // namespace

Hdf5Surgery::Hdf5Surgery(const std::filesystem::path& path)
    : file_(must(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT))) {}

Hdf5Surgery::~Hdf5Surgery() {
  H5Fclose(file_);
}

void Hdf5Surgery::remove(const std::string& name) {
  must(H5Ldelete(file_, name.c_str(), H5P_DEFAULT));
}

void Hdf5Surgery::drop_if_there(const std::string& name) {
  if (must(H5Lexists(file_, name.c_str(), H5P_DEFAULT)) > 0) remove(name);
}

std::vector<std::uint64_t> Hdf5Surgery::shape_of(const std::string& name) {
  const hid_t set = must(H5Dopen2(file_, name.c_str(), H5P_DEFAULT));
  const hid_t space = must(H5Dget_space(set));
  std::vector<hsize_t> shape(static_cast<std::size_t>(must(H5Sget_simple_extent_ndims(space))));
  must(H5Sget_simple_extent_dims(space, shape.data(), nullptr));
  must(H5Sclose(space));
  must(H5Dclose(set));
  return {shape.begin(), shape.end()};
}

void Hdf5Surgery::set_float(const std::string& name, std::size_t index, float value) {
  std::vector<double> values(volume(shape_of(name)));
  const hid_t set = must(H5Dopen2(file_, name.c_str(), H5P_DEFAULT));
  must(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()));
  values.at(index) = static_cast<double>(value);
  must(H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()));
  must(H5Dclose(set));
}

void Hdf5Surgery::set_int(const std::string& name, std::size_t index, std::int64_t value) {
  std::vector<std::int64_t> values(volume(shape_of(name)));
  const hid_t set = must(H5Dopen2(file_, name.c_str(), H5P_DEFAULT));
  must(H5Dread(set, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()));
  values.at(index) = value;
  must(H5Dwrite(set, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()));
  must(H5Dclose(set));
}

void Hdf5Surgery::set_int_attribute(const std::string& name, std::int64_t value) {
  const hid_t attribute = must(H5Aopen(file_, name.c_str(), H5P_DEFAULT));
  must(H5Awrite(attribute, H5T_NATIVE_INT64, &value));
  must(H5Aclose(attribute));
}

void Hdf5Surgery::restore_floats(const std::string& name, FloatKind kind, Storage storage) {
  const auto shape = shape_of(name);
  std::vector<float> values(volume(shape));
  const hid_t old = must(H5Dopen2(file_, name.c_str(), H5P_DEFAULT));
  must(H5Dread(old, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()));
  must(H5Dclose(old));
  remove(name);
  const hid_t properties = properties_for(storage, shape);
  if (kind != FloatKind::bfloat16) {
    const hid_t half = float16_type();
    const hid_t type = kind == FloatKind::float16 ? half : kind == FloatKind::float64 ? H5T_IEEE_F64LE : H5T_IEEE_F32BE;
    create(file_, name, type, space_of(shape), properties, H5T_NATIVE_FLOAT, values.data());
    must(H5Tclose(half));
    return;
  }
  std::vector<std::uint16_t> halves;
  for (const float value : values) {
    halves.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16));
  }
  create(file_, name, H5T_STD_U16LE, space_of(shape), properties, H5T_NATIVE_UINT16, halves.data());
  const hid_t set = must(H5Dopen2(file_, name.c_str(), H5P_DEFAULT));
  const hid_t type = text_type(8);
  must(H5Tset_strpad(type, H5T_STR_NULLPAD));
  const hid_t scalar = must(H5Screate(H5S_SCALAR));
  const hid_t attribute = must(H5Acreate2(set, "dtype", type, scalar, H5P_DEFAULT, H5P_DEFAULT));
  must(H5Awrite(attribute, type, "bfloat16"));
  must(H5Aclose(attribute));
  must(H5Sclose(scalar));
  must(H5Tclose(type));
  must(H5Dclose(set));
}

void Hdf5Surgery::store_ints(const std::string& name, const std::vector<std::int32_t>& values,
                             std::vector<std::uint64_t> shape) {
  drop_if_there(name);
  create(file_, name, H5T_STD_I32LE, space_of(shape), H5P_DEFAULT, H5T_NATIVE_INT32, values.data());
}

void Hdf5Surgery::store_fixed_strings(const std::string& name, const std::vector<std::string>& values,
                                      std::size_t length, bool space_padded) {
  drop_if_there(name);
  std::string bytes;
  for (std::string value : values) {
    value.resize(length, space_padded ? ' ' : '\0');
    bytes += value;
  }
  const hid_t type = text_type(length);
  must(H5Tset_strpad(type, space_padded ? H5T_STR_SPACEPAD : H5T_STR_NULLPAD));
  create(file_, name, type, space_of({values.size()}), H5P_DEFAULT, type, bytes.data());
  must(H5Tclose(type));
}

void Hdf5Surgery::store_variable_strings(const std::string& name, const std::vector<std::string>& values,
                                         Storage storage) {
  drop_if_there(name);
  std::vector<const char*> pointers;
  for (const std::string& value : values) pointers.push_back(value.c_str());
  const hid_t type = text_type(H5T_VARIABLE);
  create(file_, name, type, space_of({values.size()}), properties_for(storage, {values.size()}), type, pointers.data());
  must(H5Tclose(type));
}

void Hdf5Surgery::move_to_external_link(const std::string& name, const std::string& target_file,
                                        const std::string& target) {
  drop_if_there(name);
  must(H5Lcreate_external(target_file.c_str(), target.c_str(), file_, name.c_str(), H5P_DEFAULT, H5P_DEFAULT));
}

void Hdf5Surgery::move_to_soft_link(const std::string& name, const std::string& target) {
  must(H5Lmove(file_, name.c_str(), file_, target.c_str(), H5P_DEFAULT, H5P_DEFAULT));
  must(H5Lcreate_soft(target.c_str(), file_, name.c_str(), H5P_DEFAULT, H5P_DEFAULT));
}

void Hdf5Surgery::store_virtual(const std::string& name, std::uint64_t rows, const std::string& source_file,
                                const std::string& source) {
  drop_if_there(name);
  const hid_t properties = must(H5Pcreate(H5P_DATASET_CREATE));
  const hid_t space = space_of({rows});
  must(H5Pset_virtual(properties, space, source_file.c_str(), source.c_str(), space));
  create(file_, name, H5T_STD_I64LE, space, properties, H5T_NATIVE_INT64, nullptr);
}

void Hdf5Surgery::store_external(const std::string& name, std::uint64_t rows, const std::string& raw_file) {
  drop_if_there(name);
  const hid_t properties = must(H5Pcreate(H5P_DATASET_CREATE));
  must(H5Pset_external(properties, raw_file.c_str(), 0, rows * 8));
  create(file_, name, H5T_STD_I64LE, space_of({rows}), properties, H5T_NATIVE_INT64, nullptr);
}

void Hdf5Surgery::declare_chunked(const std::string& name, std::vector<std::uint64_t> shape,
                                  std::vector<std::uint64_t> chunk) {
  drop_if_there(name);
  const hid_t properties = must(H5Pcreate(H5P_DATASET_CREATE));
  must(H5Pset_chunk(properties, static_cast<int>(chunk.size()), as_hsize(chunk).data()));
  create(file_, name, H5T_STD_I64LE, space_of(shape), properties, H5T_NATIVE_INT64, nullptr);
}

}  // namespace saber::testing_data
