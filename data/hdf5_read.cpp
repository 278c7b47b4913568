#include <bit>
#include <cerrno>
#include <cstring>

#include "core/narrow.h"
#include "data/hdf5_call.h"

namespace saber {
namespace {

constexpr std::int64_t kMaxElements = std::int64_t{1} << 40;
constexpr std::int64_t kMaxAttributeBytes = 1 << 20;

Hdf5Handle float_type(hid_t base, std::size_t exponent_bits, std::size_t mantissa_bits, const std::string& place) {
  Hdf5Handle type(SABER_HDF5(internal, place, H5Tcopy(base)), H5Tclose);
  const std::size_t sign = exponent_bits + mantissa_bits;
  SABER_HDF5(internal, place, H5Tset_fields(type.get(), sign, mantissa_bits, exponent_bits, 0, mantissa_bits));
  SABER_HDF5(internal, place, H5Tset_size(type.get(), (sign + 1) / 8));
  SABER_HDF5(internal, place, H5Tset_ebias(type.get(), (std::size_t{1} << (exponent_bits - 1)) - 1));
  return type;
}

bool is_float16(hid_t type, const std::string& place) {
  return H5Tequal(type, float_type(H5T_IEEE_F32LE, 5, 10, place).get()) > 0 ||
         H5Tequal(type, float_type(H5T_IEEE_F32BE, 5, 10, place).get()) > 0;
}

bool is_one_of(hid_t type, hid_t little_endian, hid_t big_endian) {
  return H5Tequal(type, little_endian) > 0 || H5Tequal(type, big_endian) > 0;
}

std::string describe(hid_t type) {
  const std::string bits = std::to_string(8 * H5Tget_size(type));
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return (H5Tget_sign(type) == H5T_SGN_NONE ? "uint" : "int") + bits;
    case H5T_FLOAT:
      return "float" + bits;
    case H5T_STRING:
      return "a string";
    default:
      return "of another type";
  }
}

template <class T>
bool stores(hid_t type) {
  if constexpr (std::is_same_v<T, std::uint8_t>) return is_one_of(type, H5T_STD_U8LE, H5T_STD_U8BE);
  if constexpr (std::is_same_v<T, std::int32_t>) return is_one_of(type, H5T_STD_I32LE, H5T_STD_I32BE);
  if constexpr (std::is_same_v<T, std::int64_t>) return is_one_of(type, H5T_STD_I64LE, H5T_STD_I64BE);
  if constexpr (std::is_same_v<T, double>) return is_one_of(type, H5T_IEEE_F64LE, H5T_IEEE_F64BE);
}

template <class T>
std::pair<hid_t, const char*> native_type() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return {H5T_NATIVE_UINT8, "uint8"};
  if constexpr (std::is_same_v<T, std::int32_t>) return {H5T_NATIVE_INT32, "int32"};
  if constexpr (std::is_same_v<T, std::int64_t>) return {H5T_NATIVE_INT64, "int64"};
  if constexpr (std::is_same_v<T, double>) return {H5T_NATIVE_DOUBLE, "float64"};
}

// The text of a fixed-length string without its padding.
std::string unpadded(const char* bytes, std::size_t length, H5T_str_t padding) {
  std::string_view text(bytes, length);
  if (padding == H5T_STR_SPACEPAD) {
    const auto last = text.find_last_not_of(' ');
    return std::string(text.substr(0, last == std::string_view::npos ? 0 : last + 1));
  }
  if (padding == H5T_STR_NULLTERM) return std::string(text.substr(0, text.find('\0')));
  const auto last = text.find_last_not_of('\0');
  return std::string(text.substr(0, last == std::string_view::npos ? 0 : last + 1));
}

std::optional<Hdf5Handle> open_attribute(hid_t object, const std::string& name, const std::string& place) {
  if (SABER_HDF5(bad_input, place, H5Aexists(object, name.c_str())) == 0) return std::nullopt;
  Hdf5Handle attribute(SABER_HDF5(bad_input, place, H5Aopen(object, name.c_str(), H5P_DEFAULT)), H5Aclose);
  const Hdf5Handle space(SABER_HDF5(bad_input, place, H5Aget_space(attribute.get())), H5Sclose);
  const Hdf5Handle type(SABER_HDF5(bad_input, place, H5Aget_type(attribute.get())), H5Tclose);
  if (H5Sget_simple_extent_npoints(space.get()) != 1) throw_bad_input("is an array, wanted one value", place);
  if (H5Tget_size(type.get()) > kMaxAttributeBytes) throw_bad_input("is too long", place);
  return attribute;
}

// Rows [first, first + count) of an array, as HDF5 names them in the file and in memory.
struct RowSelection {
  RowSelection(const Shape& shape, std::int64_t first, std::int64_t count, const std::string& place) {
    std::vector<hsize_t> all, start(shape.size(), 0), counts;
    for (const std::int64_t size : shape) all.push_back(static_cast<hsize_t>(size));
    counts = all;
    start[0] = static_cast<hsize_t>(first);
    counts[0] = static_cast<hsize_t>(count);
    elements = count;
    for (std::size_t i = 1; i < shape.size(); ++i) elements *= shape[i];
    const int rank = static_cast<int>(shape.size());
    file = Hdf5Handle(SABER_HDF5(bad_input, place, H5Screate_simple(rank, all.data(), nullptr)), H5Sclose);
    memory = Hdf5Handle(SABER_HDF5(bad_input, place, H5Screate_simple(rank, counts.data(), nullptr)), H5Sclose);
    if (elements == 0) {
      SABER_HDF5(bad_input, place, H5Sselect_none(file.get()));
      SABER_HDF5(bad_input, place, H5Sselect_none(memory.get()));
      return;
    }
    SABER_HDF5(bad_input, place,
               H5Sselect_hyperslab(file.get(), H5S_SELECT_SET, start.data(), nullptr, counts.data(), nullptr));
  }
  Hdf5Handle file, memory;
  std::int64_t elements = 0;
};

Hdf5Handle open_for_reading(const std::filesystem::path& path, std::int64_t& file_bytes) {
  const std::string place = path.string();
  std::error_code code;
  const auto size = std::filesystem::file_size(path, code);
  if (code) throw_bad_input("cannot open: " + code.message(), place);
  file_bytes = narrow<std::int64_t>(size);
  if (file_bytes == 0) throw_bad_input("is empty, wanted an HDF5 file", place);
  hdf5::prepare_library();
  if (H5Fis_hdf5(path.c_str()) <= 0) {
    throw_bad_input("is not an HDF5 file", place, "it was written by something else, or cut off near its beginning");
  }
  const Hdf5Handle access(SABER_HDF5(bad_input, place, H5Pcreate(H5P_FILE_ACCESS)), H5Pclose);
  SABER_HDF5(bad_input, place, H5Pset_file_locking(access.get(), false, true));
  return {SABER_HDF5(bad_input, place, H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get())), H5Fclose};
}

}  // namespace

Hdf5Reader::Hdf5Reader(const std::filesystem::path& path) : path_(path), file_(open_for_reading(path, file_bytes_)) {}

std::string Hdf5Reader::place(const std::string& name, std::int64_t row) const {
  std::string text = path_.string();
  if (!name.empty()) text += " " + name;
  if (row >= 0) text += " row " + std::to_string(row);
  return text;
}

void Hdf5Reader::require_format(const std::string& format, std::int64_t version) const {
  const std::string found = text_attribute("format");
  if (found != format) throw_bad_input("is '" + found + "', wanted '" + format + "'", place("attribute format"));
  const std::int64_t number = int_attribute("version");
  if (number != version) {
    throw_bad_input("is " + std::to_string(number) + ", wanted " + std::to_string(version), place("attribute version"),
                    number > version ? "written by a newer release" : "");
  }
}

bool Hdf5Reader::has(const std::string& name) const {
  for (auto end = name.find('/', 1);; end = name.find('/', end + 1)) {
    const std::string prefix = name.substr(0, end);
    if (SABER_HDF5(bad_input, place(name), H5Lexists(file_.get(), prefix.c_str(), H5P_DEFAULT)) == 0) return false;
    H5L_info_t info;
    SABER_HDF5(bad_input, place(name), H5Lget_info(file_.get(), prefix.c_str(), &info, H5P_DEFAULT));
    if (info.type != H5L_TYPE_HARD) {
      throw_bad_input("is a soft or external link, wanted the data in the file itself", place(prefix));
    }
    if (end == std::string::npos) return true;
  }
}

Hdf5Reader::DataSet Hdf5Reader::open(const std::string& name) const {
  if (!has(name)) throw_bad_input("is missing", place(name));
  DataSet data;
  data.place = place(name);
  data.set = Hdf5Handle(SABER_HDF5(bad_input, data.place, H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT)), H5Dclose);
  data.type = Hdf5Handle(SABER_HDF5(bad_input, data.place, H5Dget_type(data.set.get())), H5Tclose);
  const Hdf5Handle creation(SABER_HDF5(bad_input, data.place, H5Dget_create_plist(data.set.get())), H5Pclose);
  if (H5Pget_layout(creation.get()) == H5D_VIRTUAL || H5Pget_external_count(creation.get()) != 0) {
    throw_bad_input("is kept in other files (virtual or external), wanted the data in the file itself", data.place);
  }
  const Hdf5Handle space(SABER_HDF5(bad_input, data.place, H5Dget_space(data.set.get())), H5Sclose);
  const int rank = SABER_HDF5(bad_input, data.place, H5Sget_simple_extent_ndims(space.get()));
  if (H5Sget_simple_extent_type(space.get()) == H5S_NULL) throw_bad_input("is empty, wanted an array", data.place);
  std::vector<hsize_t> sizes(static_cast<std::size_t>(rank));
  SABER_HDF5(bad_input, data.place, H5Sget_simple_extent_dims(space.get(), sizes.data(), nullptr));
  data.size = 1;
  for (const hsize_t size : sizes) {
    if (size > static_cast<hsize_t>(kMaxElements) ||
        (size > 0 && data.size > kMaxElements / static_cast<std::int64_t>(size))) {
      throw_bad_input("declares more than 2^40 elements", data.place, "the file is damaged");
    }
    data.size *= static_cast<std::int64_t>(size);
    data.shape.push_back(static_cast<std::int64_t>(size));
  }
  refuse_hostile_storage(data);
  return data;
}

void Hdf5Reader::refuse_hostile_storage(const DataSet& data) const {
  const Hdf5Handle creation(SABER_HDF5(bad_input, data.place, H5Dget_create_plist(data.set.get())), H5Pclose);
  const auto element_bytes = static_cast<double>(H5Tget_size(data.type.get()));
  double declared_bytes = static_cast<double>(data.size) * element_bytes;
  double allowed_bytes = static_cast<double>(file_bytes_);
  if (H5Pget_layout(creation.get()) == H5D_CHUNKED) {
    std::vector<hsize_t> chunk(H5S_MAX_RANK);
    const int rank = SABER_HDF5(bad_input, data.place, H5Pget_chunk(creation.get(), H5S_MAX_RANK, chunk.data()));
    double chunk_bytes = element_bytes;
    for (int i = 0; i < rank; ++i) chunk_bytes *= static_cast<double>(chunk[static_cast<std::size_t>(i)]);
    declared_bytes = std::max(declared_bytes, chunk_bytes);
    allowed_bytes = static_cast<double>(hdf5::max_expanded_bytes(file_bytes_));
  }
  if (declared_bytes > allowed_bytes) {
    throw_bad_input("declares shape " + text_of(data.shape) + ", more than a file of " + std::to_string(file_bytes_) +
                        " bytes can hold",
                    data.place, "the file is cut off or damaged");
  }
}

Hdf5Reader::DataSet Hdf5Reader::open(const std::string& name, const Shape& wanted) const {
  DataSet data = open(name);
  bool fits = data.shape.size() == wanted.size();
  for (std::size_t i = 0; fits && i < wanted.size(); ++i) {
    fits = wanted[i] == kAnySize || wanted[i] == data.shape[i];
  }
  if (!fits) throw_bad_input("has shape " + text_of(data.shape) + ", wanted " + text_of(wanted), data.place);
  return data;
}

Shape Hdf5Reader::shape(const std::string& name) const {
  return open(name).shape;
}

template <class T>
std::vector<T> Hdf5Reader::read(const std::string& name, const Shape& wanted) const {
  const auto [memory_type, type_name] = native_type<T>();
  const DataSet data = open(name, wanted);
  if (!stores<T>(data.type.get())) {
    throw_bad_input("is " + describe(data.type.get()) + ", wanted " + type_name, data.place);
  }
  std::vector<T> values(to_index(data.size));
  SABER_HDF5(bad_input, data.place, H5Dread(data.set.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()));
  return values;
}

template std::vector<std::uint8_t> Hdf5Reader::read(const std::string&, const Shape&) const;
template std::vector<std::int32_t> Hdf5Reader::read(const std::string&, const Shape&) const;
template std::vector<std::int64_t> Hdf5Reader::read(const std::string&, const Shape&) const;
template std::vector<double> Hdf5Reader::read(const std::string&, const Shape&) const;

std::vector<float> Hdf5Reader::read_floats(const std::string& name, const Shape& wanted) const {
  const Shape found = open(name, wanted).shape;
  return read_float_rows(name, wanted, 0, found.empty() ? 0 : found[0]);
}

std::vector<float> Hdf5Reader::read_float_rows(const std::string& name, const Shape& wanted, std::int64_t first,
                                               std::int64_t count) const {
  const DataSet data = open(name, wanted);
  const hid_t type = data.type.get();
  const auto marker = find_text_attribute(data.set.get(), "dtype", data.place + " attribute dtype");
  const bool bfloat16 = is_one_of(type, H5T_STD_U16LE, H5T_STD_U16BE) && marker == "bfloat16";
  if (!bfloat16 && !is_one_of(type, H5T_IEEE_F32LE, H5T_IEEE_F32BE) && !is_float16(type, data.place)) {
    throw_bad_input("is " + describe(type) + ", wanted float16, float32 or uint16 with the attribute dtype='bfloat16'",
                    data.place);
  }
  ensure(!data.shape.empty() && first >= 0 && count >= 0 && first + count <= data.shape[0], "the rows are there");
  const RowSelection rows(data.shape, first, count, data.place);
  std::vector<float> values(to_index(rows.elements));
  const auto read = [&](hid_t memory_type, void* to) {
    SABER_HDF5(bad_input, data.place,
               H5Dread(data.set.get(), memory_type, rows.memory.get(), rows.file.get(), H5P_DEFAULT, to));
  };
  if (!bfloat16) {
    read(H5T_NATIVE_FLOAT, values.data());
    return values;
  }
  std::vector<std::uint16_t> halves(values.size());
  read(H5T_NATIVE_UINT16, halves.data());
  for (std::size_t i = 0; i < halves.size(); ++i)
    values[i] = std::bit_cast<float>(static_cast<std::uint32_t>(halves[i]) << 16);
  return values;
}

std::vector<std::string> Hdf5Reader::read_strings(const std::string& name, std::int64_t wanted_size) const {
  const DataSet data = open(name, {wanted_size});
  if (H5Tget_class(data.type.get()) != H5T_STRING) {
    throw_bad_input("is " + describe(data.type.get()) + ", wanted strings", data.place);
  }
  const bool variable = SABER_HDF5(bad_input, data.place, H5Tis_variable_str(data.type.get())) > 0;
  auto texts = variable ? read_variable_strings(data) : read_fixed_strings(data);
  for (std::int64_t row = 0; row < data.size; ++row) {
    if (const auto bad = first_bad_utf8(texts[to_index(row)])) {
      throw_bad_input("byte " + std::to_string(*bad) + " is zero or not UTF-8, wanted UTF-8 text", place(name, row));
    }
  }
  return texts;
}

std::vector<std::string> Hdf5Reader::read_fixed_strings(const DataSet& data) const {
  const std::size_t length = H5Tget_size(data.type.get());
  std::vector<char> bytes(to_index(data.size) * length);
  SABER_HDF5(bad_input, data.place,
             H5Dread(data.set.get(), data.type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()));
  std::vector<std::string> texts;
  texts.reserve(to_index(data.size));
  for (std::size_t i = 0; i < to_index(data.size); ++i) {
    texts.push_back(unpadded(bytes.data() + i * length, length, H5Tget_strpad(data.type.get())));
  }
  return texts;
}

std::vector<std::string> Hdf5Reader::read_variable_strings(const DataSet& data) const {
  const Hdf5Handle type = hdf5::reference_type(data.place);
  std::vector<char> references(to_index(data.size) * hdf5::kReferenceBytes);
  SABER_HDF5(bad_input, data.place,
             H5Dread(data.set.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, references.data()));
  return hdf5::texts_of(references, {path_, file_bytes_, file_.get()}, data.place);
}

std::optional<std::string> Hdf5Reader::find_text_attribute(std::int64_t object, const std::string& name,
                                                           const std::string& where) const {
  const auto attribute = open_attribute(object, name, where);
  if (!attribute) return std::nullopt;
  const Hdf5Handle type(SABER_HDF5(bad_input, where, H5Aget_type(attribute->get())), H5Tclose);
  if (H5Tget_class(type.get()) != H5T_STRING) {
    throw_bad_input("is " + describe(type.get()) + ", wanted a string", where);
  }
  std::string text;
  if (SABER_HDF5(bad_input, where, H5Tis_variable_str(type.get())) > 0) {
    std::vector<char> reference(hdf5::kReferenceBytes);
    const Hdf5Handle reference_type = hdf5::reference_type(where);
    SABER_HDF5(bad_input, where, H5Aread(attribute->get(), reference_type.get(), reference.data()));
    text = hdf5::texts_of(reference, {path_, file_bytes_, file_.get()}, where).front();
  } else {
    std::vector<char> bytes(H5Tget_size(type.get()));
    SABER_HDF5(bad_input, where, H5Aread(attribute->get(), type.get(), bytes.data()));
    text = unpadded(bytes.data(), bytes.size(), H5Tget_strpad(type.get()));
  }
  if (first_bad_utf8(text)) throw_bad_input("is not UTF-8 text", where);
  return text;
}

std::string Hdf5Reader::text_attribute(const std::string& name) const {
  const std::string where = place("attribute " + name);
  auto text = find_text_attribute(file_.get(), name, where);
  if (!text) throw_bad_input("is missing", where);
  return *std::move(text);
}

std::int64_t Hdf5Reader::int_attribute(const std::string& name) const {
  const std::string where = place("attribute " + name);
  const auto attribute = open_attribute(file_.get(), name, where);
  if (!attribute) throw_bad_input("is missing", where);
  const Hdf5Handle type(SABER_HDF5(bad_input, where, H5Aget_type(attribute->get())), H5Tclose);
  if (H5Tget_class(type.get()) != H5T_INTEGER)
    throw_bad_input("is " + describe(type.get()) + ", wanted an integer", where);
  std::int64_t value = 0;
  SABER_HDF5(bad_input, where, H5Aread(attribute->get(), H5T_NATIVE_INT64, &value));
  return value;
}

}  // namespace saber
