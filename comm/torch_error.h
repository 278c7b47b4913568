// LibTorch's errors as ours. Their text carries a stack trace, which tells a user nothing.
#pragma once

#include <c10/util/Exception.h>

#include <string>

#include "core/error.h"

namespace saber {

// What `work` returns; where LibTorch throws, an Error (io) with its first lines, `place` and `hint`.
template <class Work>
auto without_trace(const std::string& place, const std::string& hint, Work work) {
  try {
    return work();
  } catch (const c10::Error& error) {
    throw Error(ErrorKind::io, error.what_without_backtrace(), place, hint);
  }
}

}  // namespace saber
