#include "comm/operations.h"

namespace saber {

Operations::Wait::Wait(Operations& operations, const Operation& operation) : operations_(operations) {
  operations_.set_state(&operation, true);
}

Operations::Wait::~Wait() {
  operations_.set_state(nullptr, false);
}

Operation Operations::begin(const char* kind, std::int64_t bytes, const char* type) {
  Operation operation{0, kind, type, bytes};
  {
    const std::lock_guard lock(mutex_);
    operation.number = ++last_number_;
  }
  if (check_) {
    const Wait wait(*this, operation);
    check_(operation);
  }
  return operation;
}

Operations::State Operations::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

void Operations::settle() {
  const std::lock_guard lock(mutex_);
  settled_ = true;
}

bool Operations::settled() const {
  const std::lock_guard lock(mutex_);
  return settled_;
}

void Operations::set_state(const Operation* operation, bool waiting) {
  const Clock::time_point now = Clock::now();
  const std::lock_guard lock(mutex_);
  if (state_.waiting) state_.waited += now - state_.since;
  if (operation != nullptr) state_.last = *operation;
  state_.waiting = waiting;
  state_.since = now;
}

}  // namespace saber
