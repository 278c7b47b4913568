// Variable-length strings without HDF5's own reader of them: release 1.10 trusts the lengths in the file, and a single
// damaged byte makes it write beyond its buffers. A string is a reference (length, address, number) to an object of a
// global heap collection; both are parsed here, by the HDF5 File Format Specification 3.0, III.E.
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <string_view>

#include "core/narrow.h"
#include "data/hdf5_call.h"

namespace saber {
namespace {

using hdf5::kReferenceBytes;
constexpr std::uint64_t kHeaderBytes = 16;  // of a collection, and of each object in it

template <class T>
T number_at(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// Bytes of the file, by offset.
class RawFile {
 public:
  RawFile(const std::filesystem::path& path, std::int64_t size, std::string place)
      : in_(path, std::ios::binary), size_(static_cast<std::uint64_t>(size)), place_(std::move(place)) {}

  std::vector<char> read(std::uint64_t offset, std::uint64_t count) {
    if (offset > size_ || count > size_ - offset) damaged();
    std::vector<char> bytes(count);
    in_.seekg(static_cast<std::streamoff>(offset));
    if (!in_.read(bytes.data(), static_cast<std::streamsize>(count))) throw_io("cannot read", place_, errno);
    return bytes;
  }
  [[noreturn]] void damaged() const {
    throw_bad_input("refers to text that is not in the file", place_, "the file is damaged");
  }

 private:
  std::ifstream in_;
  std::uint64_t size_;
  std::string place_;
};

// The global heap; keeps the collection last used.
class TextHeap {
 public:
  TextHeap(RawFile& file, std::uint64_t base) : file_(file), base_(base) {}

  std::string text(const char* reference) {
    const auto length = number_at<std::uint32_t>(reference);
    if (length == 0) return {};
    load(number_at<std::uint64_t>(reference + 4));
    const auto object = objects_.find(number_at<std::uint32_t>(reference + 12));
    if (object == objects_.end() || length > object->second.size()) file_.damaged();
    const std::string_view bytes = object->second.substr(0, length);
    return std::string(bytes.substr(0, bytes.find('\0')));  // as C programs see it
  }

 private:
  void load(std::uint64_t address) {
    if (!collection_.empty() && address == address_) return;
    objects_.clear();
    if (address > ~std::uint64_t{0} - base_) file_.damaged();
    const std::vector<char> header = file_.read(base_ + address, kHeaderBytes);
    if (std::string_view(header.data(), 5) != std::string_view("GCOL\1", 5)) file_.damaged();
    collection_ = file_.read(base_ + address, number_at<std::uint64_t>(header.data() + 8));
    address_ = address;
    const std::uint64_t size = collection_.size();
    for (std::uint64_t at = kHeaderBytes; at < size && size - at >= kHeaderBytes;) {
      const char* object = collection_.data() + at;
      const auto index = number_at<std::uint16_t>(object);
      const auto length = number_at<std::uint64_t>(object + 8);
      if (index == 0) break;  // free space, up to the end
      if (length > size - at - kHeaderBytes) file_.damaged();
      objects_.emplace(index, std::string_view(object + kHeaderBytes, length));
      at += kHeaderBytes + (length + 7) / 8 * 8;
    }
  }

  RawFile& file_;
  std::uint64_t base_;
  std::uint64_t address_ = 0;
  std::vector<char> collection_;
  std::map<std::uint32_t, std::string_view> objects_;
};

// Called by HDF5 as its conversion from variable-length strings to opaque bytes: what lies in the file stays as it is.
herr_t keep_references(hid_t from, hid_t to, H5T_cdata_t* conversion, size_t, size_t, size_t, void*, void*, hid_t) {
  if (conversion->command != H5T_CONV_INIT) return 0;
  conversion->need_bkg = H5T_BKG_NO;
  const bool fits = H5Tget_size(from) == kReferenceBytes && H5Tget_size(to) == kReferenceBytes;
  return fits ? 0 : -1;
}

}  // namespace

Hdf5Handle hdf5::reference_type(const std::string& place) {
  Hdf5Handle type(SABER_HDF5(internal, place, H5Tcreate(H5T_OPAQUE, kReferenceBytes)), H5Tclose);
  static const bool registered = [&] {  // once per process: HDF5 keeps a table of conversions
    const Hdf5Handle text(SABER_HDF5(internal, place, H5Tcopy(H5T_C_S1)), H5Tclose);
    SABER_HDF5(internal, place, H5Tset_size(text.get(), H5T_VARIABLE));
    SABER_HDF5(internal, place,
               H5Tregister(H5T_PERS_SOFT, "saber references", text.get(), type.get(), keep_references));
    return true;
  }();
  ensure(registered, "the conversion of references is registered");
  return type;
}

std::vector<std::string> hdf5::texts_of(const std::vector<char>& references, const FileOfTexts& origin,
                                        const std::string& place) {
  const Hdf5Handle creation(SABER_HDF5(bad_input, place, H5Fget_create_plist(origin.id)), H5Pclose);
  hsize_t base = 0;
  SABER_HDF5(bad_input, place, H5Pget_userblock(creation.get(), &base));
  RawFile file(origin.path, origin.bytes, place);
  TextHeap heap(file, base);
  std::vector<std::string> texts;
  std::int64_t total_bytes = 0;
  for (std::size_t at = 0; at < references.size(); at += kReferenceBytes) {
    total_bytes += size_of(texts.emplace_back(heap.text(references.data() + at)));
    if (total_bytes > max_expanded_bytes(origin.bytes)) throw_bad_input("holds more text than the file", place);
  }
  return texts;
}

}  // namespace saber
