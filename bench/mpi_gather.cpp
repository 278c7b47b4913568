// Microseconds of gathering rewards (number of the sequence and reward, 16 bytes) of all ranks: the project's one
// message, length and payload together, against a plain MPI_Allgather of as many bytes; both from and into memory that
// is there already. A B A B, medians of 9 rounds.
//   mpirun -n 2 build/bench_gather
#include <fmt/format.h>
#include <mpi.h>

#include "bench/measure.h"
#include "comm/message_gather.h"
#include "comm/mpi_check.h"
#include "comm/process_group.h"
#include "core/narrow.h"

namespace saber {
namespace {

constexpr int kRounds = 9, kRepeats = 2000;

struct Entry {
  std::int64_t sequence = 0;
  double reward = 0;
};

void measure(const MpiSession& session, c10d::ProcessGroup& group, std::int64_t entries) {
  MessageGather gather(group);
  for (Entry& entry : gather.prepare<Entry>(entries)) entry = {session.rank(), 0.5};
  const int bytes =
      narrow<int>(static_cast<std::int64_t>(sizeof(std::int64_t)) + entries * std::int64_t{sizeof(Entry)});
  std::vector<std::byte> message(to_index(bytes)), all(message.size() * to_index(session.world_size()));
  const auto once = [&](const std::function<void()>& work) {
    session.barrier();
    return seconds_of([&] {
             for (int i = 0; i < kRepeats; ++i) work();
           }) /
           kRepeats;
  };
  std::vector<double> ours, plain;
  for (int round = 0; round < kRounds; ++round) {
    ours.push_back(once([&] {
      gather.gather<Entry>(entries);
      for (std::int64_t r = 0; r < session.world_size(); ++r)
        ensure(gather.of_rank<Entry>(r).back().sequence == r, "every rank's entries arrive");
    }));
    plain.push_back(once([&] {
      SABER_MPI(MPI_Allgather(message.data(), bytes, MPI_BYTE, all.data(), bytes, MPI_BYTE, MPI_COMM_WORLD));
    }));
  }
  if (!session.is_root()) return;
  fmt::print("{:>8}{:>12.2f}{:>12.2f}{:>10.2f}\n", entries, median(ours) * 1e6, median(plain) * 1e6,
             median(ours) / median(plain));
}

void run(const MpiSession& session) {
  CommSettings settings;
  settings.backend = "mpi";
  const ProcessGroupPtr group = make_process_group(session, settings);
  if (session.is_root()) fmt::print("{:>8}{:>12}{:>12}{:>10}\n", "rewards", "ours, us", "MPI, us", "ratio");
  for (const std::int64_t entries : {24, 192, 1536, 12288}) measure(session, *group, entries);
}

}  // namespace
}  // namespace saber

int main(int argc, char** argv) {
  const saber::MpiSession session(&argc, &argv);
  at::set_num_threads(1);
  saber::run(session);
}
