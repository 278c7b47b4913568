// Who keeps the others waiting: heartbeats of all ranks in, sentences out. No MPI here.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace saber {

// What a rank says of itself every second. Travels as bytes between ranks of one build.
struct Heartbeat {
  std::int32_t rank = 0;
  std::int32_t waiting = 0;  // 1: for other ranks, 0: computes
  std::int64_t number = 0;   // of the operation that it waits in, or waited in last; 0: none yet
  std::int64_t bytes = 0;
  double seconds = 0;           // since it began to wait, or to compute
  double seconds_waited = 0;    // since the start, all waits together
  std::array<char, 24> kind{};  // of the operation, cut to 23 characters

  void set_kind(const char* text);
};

struct Sighting {
  Heartbeat heartbeat;
  double age = 0;  // seconds since it arrived
};

// Without a heartbeat for so long, a rank counts as silent.
inline constexpr double kSilentAfterSeconds = 3;

// The rows that say why others wait, worst first, at most `limit`: silent ranks, then those with the lowest numbers.
std::vector<Sighting> most_suspicious(std::vector<Sighting> all, std::size_t limit);

struct Verdict {
  std::vector<std::string> reasons;  // one sentence per rank; at least one
  double silent_seconds = 0;         // of the rank that gave no sign of life for longest; 0: all did
};

// Why `mine`, which waits, waits. rows: what rank 0 found most suspicious, as it was seen `table_age` seconds ago by
// this rank; hosts: of all ranks.
Verdict verdict_of(const Heartbeat& mine, const std::vector<Sighting>& rows, double table_age,
                   const std::vector<std::string>& hosts);

// "all-reduce #17 (8.0 MB)".
std::string name_of(const Heartbeat& heartbeat);

// The rank that others waited for during the last `window` seconds, when that cost them more than a fifth of the time.
// waited: seconds that each rank waited in the window.
struct SlowRank {
  std::int64_t rank = 0;
  double seconds_lost = 0;  // median wait of all ranks beyond its own
};
std::optional<SlowRank> slow_rank(const std::vector<double>& waited, double window);

}  // namespace saber
