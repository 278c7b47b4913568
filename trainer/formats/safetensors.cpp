#include "trainer/formats/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "the format is little-endian, and so is this code");

constexpr std::int64_t kAlignment = 8;
constexpr std::int64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's reference reader
constexpr std::int64_t kMaxDimensions = 64;
constexpr const char* kMetadata = "__metadata__";

constexpr std::pair<const char*, at::ScalarType> kTypes[] = {
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16},
    {"I64", at::kLong},   {"I32", at::kInt},   {"U8", at::kByte}};

const char* name_of(at::ScalarType type, const std::string& tensor) {
  for (const auto& [name, known] : kTypes) {
    if (known == type) return name;
  }
  throw Error(ErrorKind::internal,
              fmt::format("tensor '{}' is {}, which has no place in a safetensors file", tensor, c10::toString(type)));
}

// Where one tensor lies in the data, checked to be possible.
struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  std::int64_t begin, end;
};

// The checks of one file's header.
class HeaderReader {
 public:
  HeaderReader(const fs::path& path, std::int64_t data_bytes) : path_(path), data_bytes_(data_bytes) {}

  json parse(const std::string& text) const {
    std::set<std::string> seen;
    const auto refuse_twins = [&](int depth, json::parse_event_t event, json& parsed) {
      if (event == json::parse_event_t::key && depth == 1 && !seen.insert(parsed.get<std::string>()).second) {
        refuse(parsed.get<std::string>(), "is there twice");
      }
      return true;
    };
    try {
      json header = json::parse(text, refuse_twins);
      if (!header.is_object()) refuse("", "the header is no JSON object");
      return header;
    } catch (const json::exception& error) {
      refuse("", fmt::format("the header is not JSON: {}", error.what()));
    }
  }

  std::map<std::string, std::string> metadata(const json& header) const {
    std::map<std::string, std::string> out;
    if (!header.contains(kMetadata)) return out;
    if (!header[kMetadata].is_object()) refuse(kMetadata, "is no JSON object");
    for (const auto& [key, value] : header[kMetadata].items()) {
      if (!value.is_string()) refuse(kMetadata, fmt::format("'{}' is {}, wanted a text", key, value.type_name()));
      out[key] = value.get<std::string>();
    }
    return out;
  }

  // All tensors in the order of their data, which they fill without gap or overlap.
  std::vector<Entry> entries(const json& header) const {
    std::vector<Entry> out;
    for (const auto& [name, description] : header.items()) {
      if (name != kMetadata) out.push_back(entry(name, description));
    }
    std::sort(out.begin(), out.end(),
              [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
    std::int64_t expected = 0;
    for (const Entry& e : out) {
      if (e.begin != expected) refuse(e.name, fmt::format("starts at byte {}, wanted {}", e.begin, expected));
      expected = e.end;
    }
    if (expected != data_bytes_) refuse("", fmt::format("the tensors fill {} of {} data bytes", expected, data_bytes_));
    return out;
  }

 private:
  [[noreturn]] void refuse(const std::string& tensor, const std::string& reason) const {
    throw_bad_input(reason, path_.string() + (tensor.empty() ? "" : " tensor '" + tensor + "'"),
                    "the file is damaged, or not in the format safetensors");
  }

  std::int64_t size(const std::string& name, const json& value) const {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > std::uint64_t{INT64_MAX}) {
      refuse(name, fmt::format("{} is no size or offset", value.is_number() ? value.dump() : value.type_name()));
    }
    return value.get<std::int64_t>();
  }

  at::ScalarType type(const std::string& name, const json& value) const {
    for (const auto& [known, type] : kTypes) {
      if (value == known) return type;
    }
    refuse(name, fmt::format("type {} is not supported", value.is_string() ? value.get<std::string>() : "(no text)"));
  }

  Entry entry(const std::string& name, const json& description) const {
    if (!description.is_object() || description.size() != 3 || !description.contains("dtype") ||
        !description.contains("shape") || !description.contains("data_offsets")) {
      refuse(name, "wanted exactly dtype, shape and data_offsets");
    }
    const json& shape = description["shape"];
    const json& offsets = description["data_offsets"];
    if (!shape.is_array() || size_of(shape) > kMaxDimensions) refuse(name, "has no proper shape");
    if (!offsets.is_array() || offsets.size() != 2) refuse(name, "has no pair of data_offsets");

    Entry out{name, type(name, description["dtype"]), {}, size(name, offsets[0]), size(name, offsets[1])};
    auto bytes = static_cast<std::int64_t>(c10::elementSize(out.type));
    std::int64_t reach = bytes;  // the same with empty dimensions counted as 1, since strides are computed that way
    bool overflow = false;
    for (const json& dimension : shape) {
      out.shape.push_back(size(name, dimension));
      overflow |= __builtin_mul_overflow(bytes, out.shape.back(), &bytes);
      overflow |= __builtin_mul_overflow(reach, std::max<std::int64_t>(1, out.shape.back()), &reach);
    }
    if (overflow) refuse(name, fmt::format("shape {} is too large", shape.dump()));
    if (out.begin > out.end || out.end > data_bytes_ || out.end - out.begin != bytes) {
      refuse(name, fmt::format("shape {} needs {} bytes, but the offsets are {} to {} of {}", shape.dump(), bytes,
                               out.begin, out.end, data_bytes_));
    }
    return out;
  }

  const fs::path& path_;
  std::int64_t data_bytes_;
};

void read_exactly(std::ifstream& in, void* target, std::int64_t bytes, const fs::path& path) {
  if (bytes > 0 && !in.read(static_cast<char*>(target), bytes)) throw_bad_input("ended early", path.string());
}

}  // namespace

std::string to_safetensors(const NamedTensors& tensors, const std::map<std::string, std::string>& metadata) {
  std::vector<std::pair<std::string, at::Tensor>> ordered;
  for (const auto& [name, tensor] : tensors) {
    ensure(name != kMetadata, "no tensor is named __metadata__");
    ordered.emplace_back(name, tensor.detach().to(at::kCPU).contiguous());
  }
  // Widest elements first: then every tensor is aligned for readers that map the file.
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const auto& a, const auto& b) { return a.second.element_size() > b.second.element_size(); });
  json header = json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  std::int64_t data_bytes = 0;
  for (const auto& [name, tensor] : ordered) {
    const std::int64_t begin = std::exchange(data_bytes, data_bytes + narrow<std::int64_t>(tensor.nbytes()));
    header[name] = {{"dtype", name_of(tensor.scalar_type(), name)},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {begin, data_bytes}}};
  }
  std::string text = header.dump();
  text.resize(to_index(ceil_div(size_of(text), kAlignment) * kAlignment), ' ');

  const auto header_bytes = static_cast<std::uint64_t>(text.size());
  std::string out(sizeof header_bytes, '\0');
  out.reserve(sizeof header_bytes + text.size() + to_index(data_bytes));
  std::memcpy(out.data(), &header_bytes, sizeof header_bytes);
  out += text;
  for (const auto& [name, tensor] : ordered) out.append(static_cast<const char*>(tensor.data_ptr()), tensor.nbytes());
  return out;
}

SafetensorsFile read_safetensors(const fs::path& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) throw_bad_input("cannot open", path.string());
  const std::int64_t file_bytes = in.tellg();
  in.seekg(0);
  std::uint64_t header_bytes = 0;
  constexpr std::int64_t kLengthBytes = sizeof header_bytes;
  if (file_bytes < kLengthBytes) throw_bad_input("is shorter than the 8 bytes of a safetensors file", path.string());
  read_exactly(in, &header_bytes, kLengthBytes, path);
  const std::int64_t limit = std::min(kMaxHeaderBytes, file_bytes - kLengthBytes);
  if (header_bytes > static_cast<std::uint64_t>(limit)) {
    throw_bad_input(fmt::format("claims a header of {} bytes, at most {} are possible", header_bytes, limit),
                    path.string());
  }
  std::string text(header_bytes, '\0');
  read_exactly(in, text.data(), size_of(text), path);

  const HeaderReader reader(path, file_bytes - kLengthBytes - size_of(text));
  const json header = reader.parse(text);
  SafetensorsFile out;
  out.metadata = reader.metadata(header);
  for (const Entry& entry : reader.entries(header)) {
    const at::Tensor tensor = at::empty(entry.shape, at::dtype(entry.type));
    read_exactly(in, tensor.data_ptr(), entry.end - entry.begin, path);
    out.tensors[entry.name] = tensor;
  }
  return out;
}

void load_into(const NamedTensors& target, const NamedTensors& source, const std::string& place) {
  const auto describe = [](const at::Tensor& t) {
    return fmt::format("{} {}", c10::toString(t.scalar_type()), c10::str(t.sizes()));
  };
  for (const auto& [name, tensor] : source) {
    if (!target.contains(name)) throw_bad_input(fmt::format("tensor '{}' is not part of this model", name), place);
  }
  for (const auto& [name, tensor] : target) {
    const auto found = source.find(name);
    if (found == source.end()) throw_bad_input(fmt::format("tensor '{}' is missing", name), place);
    if (found->second.sizes() != tensor.sizes() || found->second.scalar_type() != tensor.scalar_type()) {
      throw_bad_input(fmt::format("tensor '{}' is {}, wanted {}", name, describe(found->second), describe(tensor)),
                      place, "were the model's sizes changed?");
    }
  }
  // Nothing is copied before everything is known to fit.
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : target) tensor.copy_(source.at(name));
}

}  // namespace saber
