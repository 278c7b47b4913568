// Seconds of summing float32 over all ranks: the project's group against a plain MPI_Allreduce, A B A B, medians of 9
// rounds. One JSON object a line; `bench/reduce` runs it against Gloo.
//   mpirun -n 2 build/bench_reduce
#include <fmt/format.h>
#include <mpi.h>

#include <nlohmann/json.hpp>

#include "bench/measure.h"
#include "comm/mpi_check.h"
#include "comm/process_group.h"
#include "core/narrow.h"

namespace saber {
namespace {

constexpr int kRounds = 9;
constexpr std::int64_t kSizes[] = {16 << 10, 256 << 10, 8 << 20, 48 << 20};  // bytes

void require_sum(const at::Tensor& values, int world_size) {
  const bool right = values.eq(world_size).all().item<bool>();
  if (!right) throw Error(ErrorKind::internal, "a sum over the ranks is wrong");
}

void measure(const MpiSession& session, c10d::ProcessGroup& group, std::int64_t bytes) {
  const std::int64_t repeats = std::max<std::int64_t>(1, (4 << 20) / bytes);
  at::Tensor values = zeros_to_sum(group, bytes / 4, at::kFloat), other = at::empty_like(values);
  const auto ours = [&] { all_reduce_sum(group, values); };
  const auto plain = [&] {
    SABER_MPI(MPI_Allreduce(MPI_IN_PLACE, values.data_ptr<float>(), narrow<int>(values.numel()), MPI_FLOAT, MPI_SUM,
                            MPI_COMM_WORLD));
  };
  const auto copy = [&] { other.copy_(values); };
  const auto once = [&](const std::function<void()>& work) {
    session.barrier();
    return seconds_of([&] {
             for (std::int64_t i = 0; i < repeats; ++i) work();
           }) /
           static_cast<double>(repeats);
  };
  for (const std::function<void()>& reduction : {std::function<void()>(ours), std::function<void()>(plain)}) {
    values.fill_(1);
    reduction();
    require_sum(values, session.world_size());
  }
  values.zero_();  // so that repeated sums stay finite
  std::vector<double> ours_seconds, plain_seconds, copy_seconds;
  for (int round = 0; round < kRounds; ++round) {
    ours_seconds.push_back(once(ours));
    plain_seconds.push_back(once(plain));
    copy_seconds.push_back(once(copy));
  }
  const nlohmann::ordered_json line = {{"bytes", bytes},
                                       {"saber", median(ours_seconds)},
                                       {"mpi", median(plain_seconds)},
                                       {"copy", median(copy_seconds)}};
  if (session.is_root()) fmt::print("{}\n", line.dump());
}

void run(const MpiSession& session) {
  CommSettings settings;
  settings.backend = "mpi";
  const ProcessGroupPtr group = make_process_group(session, settings);
  for (const std::int64_t bytes : kSizes) measure(session, *group, bytes);
}

}  // namespace
}  // namespace saber

int main(int argc, char** argv) {
  const saber::MpiSession session(&argc, &argv);
  at::set_num_threads(1);
  saber::run(session);
}
