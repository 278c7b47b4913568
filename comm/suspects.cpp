#include "comm/suspects.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "core/narrow.h"

namespace saber {
namespace {

// Why this rank may be what others wait for; empty when it is not.
std::string reason_against(const Sighting& row, const Heartbeat& mine) {
  const Heartbeat& other = row.heartbeat;
  const std::string last = other.number == 0 ? "not seen in any operation" : "last seen in " + name_of(other);
  if (row.age > kSilentAfterSeconds)
    return fmt::format("no heartbeat for {:.0f} s: dead, stopped or cut off; {}", row.age, last);
  if (other.number > mine.number) return "";
  const double seconds = other.seconds + row.age;
  if (other.waiting == 0) {
    return fmt::format("slow: has been computing for {:.0f} s{}", seconds,
                       other.number == 0 ? "" : " since " + name_of(other));
  }
  if (std::strcmp(other.kind.data(), mine.kind.data()) != 0)
    return fmt::format("diverged: has been waiting for {:.0f} s in {}", seconds, name_of(other));
  if (other.number < mine.number) return fmt::format("has been waiting for {:.0f} s in {}", seconds, name_of(other));
  return "";
}

}  // namespace

void Heartbeat::set_kind(const char* text) {
  kind.fill('\0');
  std::strncpy(kind.data(), text, kind.size() - 1);
}

std::string name_of(const Heartbeat& heartbeat) {
  const auto bytes = static_cast<double>(heartbeat.bytes);
  std::string size;
  if (heartbeat.bytes >= 1'000'000) {
    size = fmt::format(" ({:.1f} MB)", bytes / 1e6);
  } else if (heartbeat.bytes > 0) {
    size = fmt::format(" ({} bytes)", heartbeat.bytes);
  }
  return fmt::format("{} #{}{}", heartbeat.kind.data(), heartbeat.number, size);
}

std::vector<Sighting> most_suspicious(std::vector<Sighting> all, std::size_t limit) {
  const auto order = [](const Sighting& row) {
    const bool silent = row.age > kSilentAfterSeconds;
    return std::tuple(!silent, silent ? -row.age : 0.0, row.heartbeat.number, row.heartbeat.waiting,
                      row.heartbeat.rank);
  };
  std::sort(all.begin(), all.end(), [&](const Sighting& a, const Sighting& b) { return order(a) < order(b); });
  all.resize(std::min(all.size(), limit));
  return all;
}

Verdict verdict_of(const Heartbeat& mine, const std::vector<Sighting>& rows, double table_age,
                   const std::vector<std::string>& hosts) {
  Verdict verdict;
  const auto accuse = [&](std::int64_t rank, const std::string& reason) {
    verdict.reasons.push_back(fmt::format("rank {} on {}: {}", rank, hosts[to_index(rank)], reason));
  };
  if (table_age > kSilentAfterSeconds) {  // what the table says is old news then
    verdict.silent_seconds = table_age;
    accuse(0, fmt::format("no word for {:.0f} s: dead, stopped or cut off", table_age));
    return verdict;
  }
  for (Sighting row : rows) {
    if (row.heartbeat.rank == mine.rank) continue;
    row.age += table_age;
    const std::string reason = reason_against(row, mine);
    if (reason.empty()) continue;
    if (row.age > kSilentAfterSeconds) verdict.silent_seconds = std::max(verdict.silent_seconds, row.age);
    accuse(row.heartbeat.rank, reason);
  }
  if (verdict.reasons.empty())
    verdict.reasons.emplace_back("all ranks are alive and wait in it: the network between them does not carry it");
  return verdict;
}

std::optional<SlowRank> slow_rank(const std::vector<double>& waited, double window) {
  std::vector<double> sorted = waited;
  std::sort(sorted.begin(), sorted.end());
  const auto least = std::min_element(waited.begin(), waited.end());
  const double lost = sorted[sorted.size() / 2] - *least;
  if (lost < window / 5) return std::nullopt;
  return SlowRank{least - waited.begin(), lost};
}

}  // namespace saber
