// A hang has a name. A helper thread of each rank sends a heartbeat to rank 0 every second and gets back which ranks
// look suspicious. A rank that has waited in one operation for longer than its deadline says which, and for whom, and
// ends its process: no call of MPI could be relied on then.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/mpi_session.h"

namespace saber {

// Of a process that the watchdog ended.
inline constexpr int kStatusStuck = 3;

struct WatchdogOptions {
  double first_deadline_s = 0;  // until Operations::settle()
  double deadline_s = 0;
  // Ranks that live may take as long as they like; only one without heartbeats for deadline_s ends the others that
  // wait. For commands whose ranks work for themselves and meet at the end.
  bool patient = false;
};

class Watchdog {
 public:
  // Collective: duplicates the world's communicator. `session` must outlive the watchdog. A world of one has no helper
  // thread. Throws not_available when MPI allows no calls from several threads at once.
  Watchdog(const MpiSession& session, const WatchdogOptions& options);
  ~Watchdog();  // not collective
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  class Helper;
  std::unique_ptr<Helper> helper_;
};

}  // namespace saber
