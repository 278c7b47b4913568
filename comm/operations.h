// What this rank does among its collectives, for the watchdog: each has a number, a kind and a size.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>

namespace saber {

struct Operation {
  std::int64_t number = 0;  // from 1; the same on all ranks as long as all make the same calls
  const char* kind = "";    // "all-reduce"; static storage, here and below
  const char* type = "";    // of the elements; empty where there is none
  std::int64_t bytes = 0;   // that this rank gives; 0 where ranks may give different amounts
};

// state(), settle() and settled() may be called from any thread, all else from one.
class Operations {
 public:
  using Clock = std::chrono::steady_clock;

  struct State {
    Operation last;            // the operation that this rank waits in, or waited in last
    bool waiting = false;      // for other ranks; else it computes
    Clock::time_point since;   // when it began to wait, or to compute
    Clock::duration waited{};  // since the start, all waits together
  };

  // From construction to destruction this rank waits for others in `operation`.
  class Wait {
   public:
    Wait(Operations& operations, const Operation& operation);
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    Operations& operations_;
  };

  // Numbers the next collective, after `check` has agreed.
  Operation begin(const char* kind, std::int64_t bytes = 0, const char* type = "");
  State state() const;

  // Is called with each operation before it starts; may throw. Empty: none.
  void set_check(std::function<void(const Operation&)> check) { check_ = std::move(check); }

  // The first step is done: from now on an operation has the short deadline.
  void settle();
  bool settled() const;

 private:
  void set_state(const Operation* operation, bool waiting);

  mutable std::mutex mutex_;
  State state_{{}, false, Clock::now(), {}};
  std::int64_t last_number_ = 0;
  bool settled_ = false;
  std::function<void(const Operation&)> check_;
};

}  // namespace saber
