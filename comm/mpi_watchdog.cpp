#include "comm/mpi_watchdog.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "comm/mpi_check.h"
#include "comm/suspects.h"
#include "core/log.h"
#include "core/narrow.h"

namespace saber {
namespace {

using Clock = Operations::Clock;
using namespace std::chrono_literals;

constexpr auto kTick = 100ms;
constexpr auto kHeartbeat = 1s;
constexpr auto kSlowWindow = 30s;
constexpr auto kTimeForOthersToSpeak = 1s;  // the first rank that leaves makes the launcher end the others
constexpr std::size_t kRows = 16;

double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

// What rank 0 sends to each rank.
struct Table {
  std::int64_t count = 0;
  std::array<Sighting, kRows> rows{};
};

template <class T>
int bytes_of() {
  static_assert(std::is_trivially_copyable_v<T>);
  return static_cast<int>(sizeof(T));
}

// One value that is sent again and again, never before the last one has left.
template <class T>
class Outbox {
 public:
  void send(const T& value, int to, MPI_Comm communicator) {
    int done = 1;
    if (request_ != MPI_REQUEST_NULL) SABER_MPI(MPI_Test(&request_, &done, MPI_STATUS_IGNORE));
    if (done == 0) return;  // the other side does not take it: it will be missed
    *value_ = value;
    SABER_MPI(MPI_Isend(value_.get(), bytes_of<T>(), MPI_BYTE, to, 0, communicator, &request_));
  }
  // MPI may still read a message that nobody takes: it is left to it.
  std::unique_ptr<T> release_if_pending() {
    int done = 1;
    if (request_ != MPI_REQUEST_NULL) MPI_Test(&request_, &done, MPI_STATUS_IGNORE);
    return done == 0 ? std::move(value_) : nullptr;
  }

 private:
  std::unique_ptr<T> value_ = std::make_unique<T>();
  MPI_Request request_ = MPI_REQUEST_NULL;
};

// The newest value that another rank sent.
template <class T>
class Inbox {
 public:
  void open(int from, MPI_Comm communicator) {
    from_ = from;
    communicator_ = communicator;
    SABER_MPI(MPI_Irecv(&arriving_, bytes_of<T>(), MPI_BYTE, from_, 0, communicator_, &request_));
  }
  void take() {
    int done = 1;
    while (done != 0) {
      SABER_MPI(MPI_Test(&request_, &done, MPI_STATUS_IGNORE));
      if (done == 0) return;
      value = arriving_;
      seen = Clock::now();
      open(from_, communicator_);
    }
  }
  void close() {
    if (request_ == MPI_REQUEST_NULL) return;
    MPI_Cancel(&request_);
    MPI_Wait(&request_, MPI_STATUS_IGNORE);
  }

  T value{};
  Clock::time_point seen = Clock::now();

 private:
  int from_ = 0;
  MPI_Comm communicator_ = MPI_COMM_NULL;
  T arriving_{};
  MPI_Request request_ = MPI_REQUEST_NULL;
};

std::vector<std::string> hosts_of_all(const MpiSession& session, MPI_Comm communicator) {
  using Name = std::array<char, 64>;
  Name mine{};
  std::strncpy(mine.data(), session.host().c_str(), mine.size() - 1);
  std::vector<Name> names(to_index(session.world_size()));
  SABER_MPI(
      MPI_Allgather(mine.data(), bytes_of<Name>(), MPI_BYTE, names.data(), bytes_of<Name>(), MPI_BYTE, communicator));
  std::vector<std::string> hosts;
  for (const Name& name : names) hosts.emplace_back(name.data());
  return hosts;
}

}  // namespace

class Watchdog::Helper {
 public:
  Helper(const MpiSession& session, const WatchdogOptions& options)
      : session_(session), options_(options), waited_before_(to_index(session.world_size())) {
    SABER_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &communicator_));
    SABER_MPI(MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN));
    hosts_ = hosts_of_all(session, communicator_);
    const int peers = session.is_root() ? session.world_size() : 1;
    heartbeats_ = std::vector<Inbox<Heartbeat>>(to_index(session.is_root() ? peers : 0));
    tables_out_ = std::vector<Outbox<Table>>(heartbeats_.size());
    for (int r = 1; r < peers; ++r) heartbeats_[to_index(r)].open(r, communicator_);
    if (!session.is_root()) table_.open(0, communicator_);
    thread_ = std::thread([this] { run(); });
  }
  // The communicator is left to MPI_Finalize: freeing it would be collective, and other ranks may have failed.
  ~Helper() {
    stop_ = true;
    thread_.join();
    for (auto& inbox : heartbeats_) inbox.close();
    table_.close();
    static_cast<void>(beat_.release_if_pending().release());
    for (auto& outbox : tables_out_) static_cast<void>(outbox.release_if_pending().release());
  }
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;

 private:
  void run() {
    try {
      while (!stop_) {
        tick();
        std::this_thread::sleep_for(kTick);
      }
    } catch (const std::exception& error) {
      leave(fmt::format("the watchdog's own messages failed: {}", error.what()));
    }
  }

  void tick() {
    const Clock::time_point now = Clock::now();
    const Heartbeat mine = own_heartbeat();
    if (session_.is_root()) {
      for (std::size_t r = 1; r < heartbeats_.size(); ++r) heartbeats_[r].take();
      heartbeats_[0].value = mine;
      heartbeats_[0].seen = now;
    } else {
      table_.take();
    }
    if (now - last_beat_ >= kHeartbeat) {
      last_beat_ = now;
      session_.is_root() ? send_tables() : beat_.send(mine, 0, communicator_);
    }
    if (session_.is_root() && !options_.patient && now - last_window_ >= kSlowWindow) name_slow_rank(now);
    check_deadline(mine);
  }

  Heartbeat own_heartbeat() const {
    const Operations::State state = session_.operations().state();
    const double now = seconds(Clock::now() - state.since);
    Heartbeat out;
    out.rank = session_.rank();
    out.waiting = state.waiting ? 1 : 0;
    out.number = state.last.number;
    out.bytes = state.last.bytes;
    out.seconds = now;
    out.seconds_waited = seconds(state.waited) + (state.waiting ? now : 0.0);
    out.set_kind(state.last.kind);
    return out;
  }

  std::vector<Sighting> suspicious() const {
    std::vector<Sighting> all;
    for (const auto& inbox : heartbeats_) all.push_back({inbox.value, seconds(Clock::now() - inbox.seen)});
    for (std::size_t r = 0; r < all.size(); ++r) all[r].heartbeat.rank = narrow<std::int32_t>(r);  // none seen yet
    return most_suspicious(std::move(all), kRows);
  }

  void send_tables() {
    Table table;
    const std::vector<Sighting> rows = suspicious();
    table.count = size_of(rows);
    std::copy(rows.begin(), rows.end(), table.rows.begin());
    for (int r = 1; r < session_.world_size(); ++r) tables_out_[to_index(r)].send(table, r, communicator_);
  }

  void name_slow_rank(Clock::time_point now) {
    std::vector<double> waited;
    for (std::size_t r = 0; r < heartbeats_.size(); ++r) {
      const double total = heartbeats_[r].value.seconds_waited;
      waited.push_back(total - waited_before_[r]);
      waited_before_[r] = total;
    }
    const double window = seconds(now - last_window_);
    last_window_ = now;
    const std::optional<SlowRank> slow = slow_rank(waited, window);
    if (!slow || !session_.operations().settled()) return;
    spdlog::warn("rank {} on {} is slow: the others waited {:.1f} s of the last {:.0f} s for it ({:.0f} %)", slow->rank,
                 hosts_[to_index(slow->rank)], slow->seconds_lost, window, 100 * slow->seconds_lost / window);
  }

  void check_deadline(const Heartbeat& mine) {
    const bool settled = options_.patient || session_.operations().settled();
    const double deadline = settled ? options_.deadline_s : options_.first_deadline_s;
    if (mine.waiting == 0 || mine.seconds < deadline) return;
    const Table& table = table_.value;
    const auto rows =
        session_.is_root() ? suspicious() : std::vector<Sighting>(table.rows.begin(), table.rows.begin() + table.count);
    const double age = session_.is_root() ? 0.0 : seconds(Clock::now() - table_.seen);
    const Verdict verdict = verdict_of(mine, rows, age, hosts_);
    if (options_.patient && verdict.silent_seconds < deadline) return;
    leave(fmt::format("waited {:.0f} s in {}, longer than comm.{} ({:.0f} s), for {}", mine.seconds, name_of(mine),
                      settled ? "deadline_s" : "first_deadline_s", deadline, fmt::join(verdict.reasons, "; ")));
  }

  [[noreturn]] static void leave(const std::string& reason) {
    spdlog::error("{}", reason);
    spdlog::default_logger()->flush();
    std::this_thread::sleep_for(kTimeForOthersToSpeak);
    _exit(kStatusStuck);
  }

  const MpiSession& session_;
  WatchdogOptions options_;
  MPI_Comm communicator_ = MPI_COMM_NULL;
  std::vector<std::string> hosts_;
  std::vector<Inbox<Heartbeat>> heartbeats_;  // rank 0: of each rank
  std::vector<Outbox<Table>> tables_out_;     // rank 0: to each rank
  Inbox<Table> table_;                        // other ranks
  Outbox<Heartbeat> beat_;
  std::vector<double> waited_before_;
  Clock::time_point last_beat_{}, last_window_ = Clock::now();
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

Watchdog::Watchdog(const MpiSession& session, const WatchdogOptions& options) {
  if (session.world_size() == 1) return;
  int granted = MPI_THREAD_SINGLE;
  SABER_MPI(MPI_Query_thread(&granted));
  if (granted < MPI_THREAD_MULTIPLE) {
    throw Error(ErrorKind::not_available,
                "this MPI allows no calls from several threads at once, which the watchdog needs", "MPI",
                "use an MPI library that was built with MPI_THREAD_MULTIPLE");
  }
  helper_ = std::make_unique<Helper>(session, options);
}

Watchdog::~Watchdog() = default;

}  // namespace saber
