// Whether a fence of PMIx without data waits for all tasks of a job, as MPI_Init takes for granted: task 0 comes two
// seconds late, and each says how long it waited.
#include <pmix.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

int main() {
  pmix_proc_t self;
  if (PMIx_Init(&self, nullptr, 0) != PMIX_SUCCESS) return 1;
  if (PMIx_Fence(nullptr, 0, nullptr, 0) != PMIX_SUCCESS) return 1;
  const auto begin = std::chrono::steady_clock::now();
  if (self.rank == 0) sleep(2);
  if (PMIx_Fence(nullptr, 0, nullptr, 0) != PMIX_SUCCESS) return 1;
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
  std::printf("task %u waited %.1f s\n", static_cast<unsigned>(self.rank), waited.count());
  PMIx_Finalize(nullptr, 0);
}
