// An error that all ranks know of: each finalizes MPI and leaves with the exit status, none aborts the others.
#pragma once

#include "core/error.h"

namespace saber {

class AgreedError : public Error {
 public:
  // reported: another rank prints the message, this one stays silent.
  AgreedError(const Error& cause, bool reported_elsewhere) : Error(cause), reported_elsewhere_(reported_elsewhere) {}
  bool reported_elsewhere() const { return reported_elsewhere_; }

 private:
  bool reported_elsewhere_;
};

}  // namespace saber
