// Ends all ranks when something that they start together does not start in time. For libraries that wait inside
// themselves, where a rank cannot be told that another one has failed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "comm/mpi_session.h"
#include "core/error.h"

namespace saber {

class StartDeadline {
 public:
  using Clock = std::chrono::steady_clock;

  // After `limit` every rank logs `late` and ends all with its exit status, unless the object is gone by then.
  StartDeadline(const MpiSession& session, Error late, std::chrono::milliseconds limit);
  ~StartDeadline();
  StartDeadline(const StartDeadline&) = delete;
  StartDeadline& operator=(const StartDeadline&) = delete;

  // This rank has failed. The others often notice by themselves and leave in order; if not within `grace`, all end with
  // this error.
  void failed(const Error& error, std::chrono::milliseconds grace = std::chrono::seconds(20));

 private:
  void watch(const MpiSession& session);

  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  Error error_;
  Clock::time_point deadline_;
  std::thread thread_;  // last: it uses the others
};

}  // namespace saber
