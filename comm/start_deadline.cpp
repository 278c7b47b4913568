#include "comm/start_deadline.h"

#include <algorithm>
#include <utility>

#include "core/log.h"

namespace saber {

using std::chrono::milliseconds;

StartDeadline::StartDeadline(const MpiSession& session, Error late, milliseconds limit)
    : error_(std::move(late)),
      deadline_(Clock::now() + limit + milliseconds(session.is_root() ? 0 : 2000)),  // rank 0 speaks for all
      thread_([this, &session] { watch(session); }) {}

StartDeadline::~StartDeadline() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StartDeadline::failed(const Error& error, milliseconds grace) {
  const std::lock_guard lock(mutex_);
  error_ = error;
  deadline_ = std::min(deadline_, Clock::now() + grace);
  changed_.notify_all();
}

void StartDeadline::watch(const MpiSession& session) {
  std::unique_lock lock(mutex_);
  while (!over_ && Clock::now() < deadline_) {
    const Clock::time_point deadline = deadline_;
    changed_.wait_until(lock, deadline);
  }
  if (over_) return;
  spdlog::error("{}", error_.what());
  session.abort(error_.exit_status());
}

}  // namespace saber
