#include "core/atomic_file.h"
#include "core/fail_point.h"
#include "core/narrow.h"
#include "data/hdf5_call.h"

namespace saber {
namespace {

std::string place_of(const std::filesystem::path& path, const std::string& name) {
  return path.string() + " " + name;
}

struct TypePair {
  hid_t stored;
  hid_t memory;
};

template <class T>
TypePair types_of() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return {H5T_STD_U8LE, H5T_NATIVE_UINT8};
  if constexpr (std::is_same_v<T, std::int32_t>) return {H5T_STD_I32LE, H5T_NATIVE_INT32};
  if constexpr (std::is_same_v<T, std::int64_t>) return {H5T_STD_I64LE, H5T_NATIVE_INT64};
  if constexpr (std::is_same_v<T, float>) return {H5T_IEEE_F32LE, H5T_NATIVE_FLOAT};
  if constexpr (std::is_same_v<T, double>) return {H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE};
}

Hdf5Handle utf8_type(const std::string& place) {
  Hdf5Handle type(SABER_HDF5(io, place, H5Tcopy(H5T_C_S1)), H5Tclose);
  SABER_HDF5(io, place, H5Tset_size(type.get(), H5T_VARIABLE));
  SABER_HDF5(io, place, H5Tset_cset(type.get(), H5T_CSET_UTF8));
  return type;
}

Hdf5Handle properties_without_times(hid_t property_class, const std::string& place) {
  Hdf5Handle properties(SABER_HDF5(io, place, H5Pcreate(property_class)), H5Pclose);
  SABER_HDF5(io, place, H5Pset_obj_track_times(properties.get(), false));
  return properties;
}

void require_text(const std::string& text, const std::string& place) {
  if (const auto bad = first_bad_utf8(text)) {
    throw_bad_input("byte " + std::to_string(*bad) + " is zero or not UTF-8, wanted UTF-8 text", place);
  }
}

}  // namespace

Hdf5Writer::Hdf5Writer(const std::filesystem::path& path, const std::string& format, std::int64_t version)
    : path_(path), temporary_(path.parent_path() / ("." + path.filename().string() + ".tmp")) {
  const std::string place = temporary_.string();
  hdf5::prepare_library();
  const Hdf5Handle creation = properties_without_times(H5P_FILE_CREATE, place);
  const Hdf5Handle access(SABER_HDF5(io, place, H5Pcreate(H5P_FILE_ACCESS)), H5Pclose);
  SABER_HDF5(io, place, H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_V18));
  // The temporary name is ours alone, and some shared file systems have no locks.
  SABER_HDF5(io, place, H5Pset_file_locking(access.get(), false, true));
  file_ = Hdf5Handle(SABER_HDF5(io, place, H5Fcreate(temporary_.c_str(), H5F_ACC_TRUNC, creation.get(), access.get())),
                     H5Fclose);
  set_attribute("format", format);
  set_attribute("version", version);
}

Hdf5Writer::~Hdf5Writer() {
  if (committed_) return;
  file_.reset();
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

void Hdf5Writer::add_group(const std::string& name) {
  const std::string place = place_of(path_, name);
  const Hdf5Handle creation = properties_without_times(H5P_GROUP_CREATE, place);
  const Hdf5Handle group(
      SABER_HDF5(io, place, H5Gcreate2(file_.get(), name.c_str(), H5P_DEFAULT, creation.get(), H5P_DEFAULT)), H5Gclose);
}

Hdf5Handle Hdf5Writer::create(const std::string& name, std::int64_t type, const Shape& shape) {
  const std::string place = place_of(path_, name);
  std::vector<hsize_t> sizes;
  for (const std::int64_t size : shape) sizes.push_back(narrow<hsize_t>(size));
  const Hdf5Handle space(SABER_HDF5(io, place, H5Screate_simple(narrow<int>(sizes.size()), sizes.data(), nullptr)),
                         H5Sclose);
  const Hdf5Handle creation = properties_without_times(H5P_DATASET_CREATE, place);
  SABER_HDF5(io, place, H5Pset_layout(creation.get(), H5D_CONTIGUOUS));
  return {
      SABER_HDF5(io, place,
                 H5Dcreate2(file_.get(), name.c_str(), type, space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT)),
      H5Dclose};
}

template <class T>
void Hdf5Writer::write(const std::string& name, std::span<const T> values, const Shape& shape) {
  std::int64_t size = 1;
  for (const std::int64_t n : shape) size *= n;
  ensure(size == size_of(values), "a data set's shape fits its values");
  const Hdf5Handle set = create(name, types_of<T>().stored, shape);
  SABER_HDF5(io, place_of(path_, name),
             H5Dwrite(set.get(), types_of<T>().memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()));
}

template void Hdf5Writer::write(const std::string&, std::span<const std::uint8_t>, const Shape&);
template void Hdf5Writer::write(const std::string&, std::span<const std::int32_t>, const Shape&);
template void Hdf5Writer::write(const std::string&, std::span<const std::int64_t>, const Shape&);
template void Hdf5Writer::write(const std::string&, std::span<const float>, const Shape&);
template void Hdf5Writer::write(const std::string&, std::span<const double>, const Shape&);

void Hdf5Writer::write_strings(const std::string& name, const std::vector<std::string>& values) {
  const std::string place = place_of(path_, name);
  std::vector<const char*> pointers;
  pointers.reserve(values.size());
  for (const std::string& value : values) {
    require_text(value, place + " row " + std::to_string(pointers.size()));
    pointers.push_back(value.c_str());
  }
  const Hdf5Handle type = utf8_type(place);
  const Hdf5Handle set = create(name, type.get(), {size_of(values)});
  SABER_HDF5(io, place, H5Dwrite(set.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()));
}

void Hdf5Writer::set_attribute(const std::string& name, const std::string& value) {
  const std::string place = place_of(path_, "attribute " + name);
  require_text(value, place);
  const Hdf5Handle type = utf8_type(place);
  const Hdf5Handle space(SABER_HDF5(io, place, H5Screate(H5S_SCALAR)), H5Sclose);
  const Hdf5Handle attribute(
      SABER_HDF5(io, place, H5Acreate2(file_.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT)),
      H5Aclose);
  const char* pointer = value.c_str();
  SABER_HDF5(io, place, H5Awrite(attribute.get(), type.get(), &pointer));
}

void Hdf5Writer::set_attribute(const std::string& name, std::int64_t value) {
  const std::string place = place_of(path_, "attribute " + name);
  const Hdf5Handle space(SABER_HDF5(io, place, H5Screate(H5S_SCALAR)), H5Sclose);
  const Hdf5Handle attribute(
      SABER_HDF5(io, place,
                 H5Acreate2(file_.get(), name.c_str(), H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT)),
      H5Aclose);
  SABER_HDF5(io, place, H5Awrite(attribute.get(), H5T_NATIVE_INT64, &value));
}

void Hdf5Writer::commit() {
  SABER_HDF5(io, temporary_.string(), H5Fflush(file_.get(), H5F_SCOPE_GLOBAL));
  SABER_HDF5(io, temporary_.string(), file_.reset());
  sync_path(temporary_);
  fail_point("hdf5:before-rename");
  rename_durable(temporary_, path_);
  committed_ = true;
}

}  // namespace saber
