// A hook for the crash tests: named places where a process can be made to die. In a normal run they do nothing.
#pragma once

namespace saber {

// When the environment variable SABER_FAIL_POINT is `name` (or "name@k": at the k-th call with that name), the process
// kills itself here with SIGKILL, as a lost machine would. Any other value, or none, changes nothing.
void fail_point(const char* name);

}  // namespace saber
