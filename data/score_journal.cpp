#include "data/score_journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/narrow.h"

namespace saber {
namespace fs = std::filesystem;
namespace {

static_assert(std::endian::native == std::endian::little, "journals and their checksums are little-endian");

// A record: magic, length of the payload, payload, XXH3-64 of all before it. The first record of a file is its header,
// JSON with the format, the version and the origin; the others hold the nodes of one query each.
constexpr std::string_view kMagic = "SABERJNL";
constexpr std::size_t kNumberBytes = 8;
constexpr std::size_t kFrameBytes = kMagic.size() + 2 * kNumberBytes;
constexpr std::int64_t kNodeBytes = 3 * 8 + 1;  // parent, icd, reward, status
constexpr const char* kFormat = "saber-scores-journal";
constexpr std::int64_t kVersion = 1;

template <class T>
void put(std::string& bytes, const T* values, std::size_t count) {
  bytes.append(reinterpret_cast<const char*>(values), count * sizeof(T));
}

template <class T>
void put(std::string& bytes, const std::vector<T>& values) {
  put(bytes, values.data(), values.size());
}

// Moves `count` values from the front of `bytes`, which must hold them.
template <class T>
std::vector<T> take(std::string_view& bytes, std::int64_t count) {
  std::vector<T> values(to_index(count));
  const std::size_t size = values.size() * sizeof(T);
  ensure(size <= bytes.size(), "a journal record holds what its length says");
  if (size > 0) std::memcpy(values.data(), bytes.data(), size);
  bytes.remove_prefix(size);
  return values;
}

std::string frame(std::string_view payload) {
  std::string record(kMagic);
  const std::uint64_t length = payload.size();
  put(record, &length, 1);
  record += payload;
  const std::uint64_t checksum = hash64(record);
  put(record, &checksum, 1);
  return record;
}

// The payload of the record at the front of `bytes`, which loses it; nothing when the record is torn or damaged.
std::optional<std::string_view> next_payload(std::string_view& bytes) {
  if (bytes.size() < kFrameBytes || !bytes.starts_with(kMagic)) return std::nullopt;
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data() + kMagic.size(), sizeof length);
  if (length > bytes.size() - kFrameBytes) return std::nullopt;
  const std::size_t checked = kMagic.size() + kNumberBytes + length;
  std::uint64_t checksum = 0;
  std::memcpy(&checksum, bytes.data() + checked, sizeof checksum);
  if (checksum != hash64(bytes.substr(0, checked))) return std::nullopt;
  const std::string_view payload = bytes.substr(kMagic.size() + kNumberBytes, length);
  bytes.remove_prefix(checked + kNumberBytes);
  return payload;
}

std::string encode(const QueryNodes& nodes) {
  ensure(size_of(nodes.demonstration) == nodes.size() && size_of(nodes.reward) == nodes.size() &&
             size_of(nodes.status) == nodes.size(),
         "the columns of a query's nodes have equal lengths");
  std::string payload;
  const std::int64_t head[] = {nodes.query, nodes.size()};
  put(payload, head, 2);
  put(payload, nodes.parent);
  put(payload, nodes.demonstration);
  put(payload, nodes.reward);
  put(payload, nodes.status);
  return payload;
}

// Nothing when the payload is no query's nodes.
std::optional<QueryNodes> decode(std::string_view payload) {
  if (payload.size() < 2 * kNumberBytes) return std::nullopt;
  const auto head = take<std::int64_t>(payload, 2);
  const std::int64_t count = head[1];
  if (head[0] < 0 || count < 0 || count > size_of(payload) || count * kNodeBytes != size_of(payload)) {
    return std::nullopt;
  }
  QueryNodes nodes;
  nodes.query = head[0];
  nodes.parent = take<std::int64_t>(payload, count);
  nodes.demonstration = take<std::int64_t>(payload, count);
  nodes.reward = take<double>(payload, count);
  nodes.status = take<NodeStatus>(payload, count);
  const bool parents_exist = std::all_of(nodes.parent.begin(), nodes.parent.end(),
                                         [&](std::int64_t parent) { return parent >= -1 && parent < count; });
  const bool known = std::all_of(nodes.status.begin(), nodes.status.end(),
                                 [](NodeStatus status) { return status <= NodeStatus::prefix_only; });
  if (!parents_exist || !known) return std::nullopt;
  return nodes;
}

nlohmann::ordered_json json_of(const ScoreTreeOrigin& origin) {
  return {{"scorer", origin.scorer},
          {"prompt_template", origin.prompt_template},
          {"reduction", origin.reduction},
          {"data_fingerprint", origin.data_fingerprint},
          {"pool", origin.pool},
          {"shots", origin.shots},
          {"beam", origin.beam},
          {"pool_size", origin.pool_size},
          {"seed", origin.seed}};
}

void require_header(std::string_view payload, const ScoreTreeOrigin& origin, const std::string& place) {
  const auto header = nlohmann::ordered_json::parse(payload, nullptr, false);
  const bool known = header.is_object() && header.value("format", nlohmann::ordered_json()) == kFormat &&
                     header.value("version", nlohmann::ordered_json()) == kVersion && header.contains("origin") &&
                     header["origin"].is_object();
  if (!known) {
    throw_bad_input(fmt::format("is no journal of this release, wanted {} version {}", kFormat, kVersion), place,
                    "finish it with the release that began it, or remove its folder to score again");
  }
  const auto wanted_origin = json_of(origin);
  for (const auto& [key, wanted] : wanted_origin.items()) {
    const auto found = header["origin"].value(key, nlohmann::ordered_json());
    if (found == wanted) continue;
    throw_bad_input(fmt::format("was written with {} = {}, wanted {}", key, found.dump(), wanted.dump()), place,
                    "give the output another name, or remove the journals to score again");
  }
}

// The attempt in "attempt-0003-rank-00001.journal"; nothing for other names.
std::optional<std::int64_t> attempt_of(const std::string& name) {
  constexpr std::string_view kPrefix = "attempt-";
  if (!name.starts_with(kPrefix) || !name.ends_with(".journal")) return std::nullopt;
  std::int64_t attempt = 0;
  const char* end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + kPrefix.size(), end, attempt);
  if (error != std::errc() || attempt < 0 || !std::string_view(rest, end).starts_with("-rank-")) return std::nullopt;
  return attempt;
}

void warn_of_damage(const std::string& place, std::size_t offset, std::size_t left) {
  spdlog::warn("{}: the record at byte {} is torn or damaged; it and the {} bytes from there on do not count", place,
               offset, left);
}

void read_journal(const fs::path& path, const ScoreTreeOrigin& origin, std::map<std::int64_t, QueryNodes>& queries) {
  const std::string bytes = read_file(path);
  std::string_view rest = bytes;
  bool header_seen = false;
  while (!rest.empty()) {
    const std::string_view before = rest;
    const auto payload = next_payload(rest);
    if (payload && !header_seen) {
      require_header(*payload, origin, path.string());
      header_seen = true;
      continue;
    }
    auto nodes = payload ? decode(*payload) : std::nullopt;
    if (!nodes) return warn_of_damage(path.string(), bytes.size() - before.size(), before.size());
    const std::int64_t query = nodes->query;
    queries.try_emplace(query, *std::move(nodes));
  }
}

// A short write leaves a torn record, after which nothing of this file would count: the caller must stop.
void write_once(int fd, std::string_view bytes, const fs::path& path) {
  ssize_t written = -1;
  do {
    written = ::write(fd, bytes.data(), bytes.size());
  } while (written < 0 && errno == EINTR);
  if (written < 0) throw_io("cannot write", path.string(), errno);
  if (static_cast<std::size_t>(written) != bytes.size()) throw_io("cannot write a whole record", path.string(), ENOSPC);
}

fs::path journal_path(const fs::path& folder, std::int64_t attempt, int rank) {
  create_folders(folder);
  return folder / fmt::format("attempt-{:04}-rank-{:05}.journal", attempt, rank);
}

}  // namespace

ScoreJournal::ScoreJournal(const fs::path& folder, std::int64_t attempt, int rank, const ScoreTreeOrigin& origin)
    : path_(journal_path(folder, attempt, rank)),
      fd_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666)) {
  if (fd_ < 0) throw_io("cannot create the journal", path_.string(), errno);
  const nlohmann::ordered_json header = {
      {"format", kFormat}, {"version", kVersion}, {"attempt", attempt}, {"rank", rank}, {"origin", json_of(origin)}};
  try {
    write_once(fd_, frame(header.dump()), path_);
    sync();
    sync_path(folder);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

ScoreJournal::~ScoreJournal() {
  ::close(fd_);
}

void ScoreJournal::append(const QueryNodes& nodes) {
  write_once(fd_, frame(encode(nodes)), path_);
}

void ScoreJournal::sync() {
  if (::fsync(fd_) != 0) throw_io("cannot flush to disk", path_.string(), errno);
}

JournalContents read_journals(const fs::path& folder, const ScoreTreeOrigin& origin) {
  JournalContents contents;
  if (!fs::exists(folder)) return contents;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto attempt = attempt_of(entry.path().filename().string());
    if (!attempt) continue;
    contents.next_attempt = std::max(contents.next_attempt, *attempt + 1);
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::map<std::int64_t, QueryNodes> queries;
  for (const fs::path& path : paths) read_journal(path, origin, queries);
  for (auto& [query, nodes] : queries) contents.queries.push_back(std::move(nodes));
  return contents;
}

}  // namespace saber
