#include "comm/mpi_session.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <optional>
#include <vector>

#include "comm/agreed_error.h"
#include "comm/mpi_check.h"
#include "core/log.h"
#include "core/narrow.h"

namespace saber {
namespace {

// Wider than cpu_set_t, whose 1024 cores are too few for some hosts: 8192.
using CoreMask = std::array<unsigned long, 128>;

CoreMask affinity_mask() {
  CoreMask mask{};
  if (sched_getaffinity(0, sizeof mask, reinterpret_cast<cpu_set_t*>(mask.data())) != 0) {
    throw Error(ErrorKind::io, fmt::format("sched_getaffinity failed: {}", std::strerror(errno)));
  }
  return mask;
}

int count_cores(const CoreMask& mask) {
  int count = 0;
  for (const unsigned long word : mask) count += std::popcount(word);
  return count;
}

struct Placement {
  int local_rank = 0;
  int num_local_ranks = 1;
  int num_threads = 1;
  bool wastes_cores = false;  // this rank is bound to one core, and the host has cores that no local rank may use
};

Placement find_placement() {
  Placement out;
  MPI_Comm local = MPI_COMM_NULL;
  SABER_MPI(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local));
  SABER_MPI(MPI_Comm_rank(local, &out.local_rank));
  SABER_MPI(MPI_Comm_size(local, &out.num_local_ranks));
  const CoreMask mine = affinity_mask();
  std::vector<CoreMask> masks(to_index(out.num_local_ranks));
  constexpr int kWords = static_cast<int>(std::tuple_size_v<CoreMask>);
  SABER_MPI(MPI_Allgather(mine.data(), kWords, MPI_UNSIGNED_LONG, masks.data(), kWords, MPI_UNSIGNED_LONG, local));
  SABER_MPI(MPI_Comm_free(&local));

  CoreMask used{};
  for (const CoreMask& mask : masks) {
    std::transform(used.begin(), used.end(), mask.begin(), used.begin(), std::bit_or<>());
  }
  const auto sharing = narrow<int>(std::count(masks.begin(), masks.end(), mine));
  out.num_threads = std::max(1, count_cores(mine) / sharing);
  out.wastes_cores = count_cores(mine) == 1 && count_cores(used) < sysconf(_SC_NPROCESSORS_ONLN);
  return out;
}

// Bytes of any length from `root` to all.
void broadcast_bytes(std::string& bytes, int root) {
  std::int64_t size = size_of(bytes);
  SABER_MPI(MPI_Bcast(&size, 1, MPI_INT64_T, root, MPI_COMM_WORLD));
  bytes.resize(to_index(size));
  constexpr std::int64_t kChunk = std::int64_t{1} << 30;
  for (std::int64_t start = 0; start < size; start += kChunk) {
    const int count = narrow<int>(std::min(kChunk, size - start));
    SABER_MPI(MPI_Bcast(bytes.data() + start, count, MPI_BYTE, root, MPI_COMM_WORLD));
  }
}

// The error of rank `root` on all ranks.
Error broadcast_error(const std::optional<Error>& mine, int root) {
  const Error none(ErrorKind::internal, "");
  const Error& source = mine ? *mine : none;
  int kind = static_cast<int>(source.kind());
  std::string message = source.message(), place = source.place(), hint = source.hint();
  SABER_MPI(MPI_Bcast(&kind, 1, MPI_INT, root, MPI_COMM_WORLD));
  for (std::string* const text : {&message, &place, &hint}) broadcast_bytes(*text, root);
  return Error(static_cast<ErrorKind>(kind), message, place, hint);
}

std::optional<Error> error_of(const std::function<void()>& work) {
  try {
    work();
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    return Error(ErrorKind::internal, error.what());
  }
}

}  // namespace

MpiSession::MpiSession(int* argc, char*** argv) {
  int granted = MPI_THREAD_SINGLE;
  SABER_MPI(MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &granted));
  SABER_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  if (granted < MPI_THREAD_SERIALIZED) {
    throw Error(ErrorKind::not_available, "this MPI grants no calls from threads other than the first", "MPI",
                "use an MPI library that was built with thread support");
  }
  SABER_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
  SABER_MPI(MPI_Comm_size(MPI_COMM_WORLD, &world_size_));
  std::array<char, MPI_MAX_PROCESSOR_NAME> name{};
  int length = 0;
  SABER_MPI(MPI_Get_processor_name(name.data(), &length));
  host_.assign(name.data(), to_index(length));

  const Placement placement = find_placement();
  local_rank_ = placement.local_rank;
  num_local_ranks_ = placement.num_local_ranks;
  num_threads_ = placement.num_threads;
  const int wasting = placement.wastes_cores ? 1 : 0;
  SABER_MPI(MPI_Allreduce(&wasting, &num_wasting_ranks_, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
}

MpiSession::~MpiSession() {
  MPI_Finalize();  // a failure at this point could not be mended
}

std::string MpiSession::on_root(const std::function<std::string()>& work, const char* kind) const {
  const Operation operation = operations_.begin(kind);
  std::string result;
  std::optional<Error> error;
  if (is_root()) error = error_of([&] { result = work(); });
  const Operations::Wait wait(operations_, operation);
  int failed = error ? 1 : 0;
  SABER_MPI(MPI_Bcast(&failed, 1, MPI_INT, 0, MPI_COMM_WORLD));
  if (failed != 0) throw AgreedError(broadcast_error(error, 0), !is_root());
  broadcast_bytes(result, 0);
  return result;
}

void MpiSession::on_all(const std::function<void()>& work) const {
  const std::optional<Error> mine = error_of(work);
  const Operation operation = operations_.begin("work of all ranks");
  const Operations::Wait wait(operations_, operation);
  const int failed_rank = mine ? rank_ : world_size_;
  int first_failed = world_size_;
  SABER_MPI(MPI_Allreduce(&failed_rank, &first_failed, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD));
  if (first_failed == world_size_) return;
  const Error first = broadcast_error(mine, first_failed);
  if (!mine) throw AgreedError(first, true);
  // Ranks that met the very same trouble leave it to the first of them to say so.
  throw AgreedError(*mine, rank_ != first_failed && std::strcmp(mine->what(), first.what()) == 0);
}

void MpiSession::barrier() const {
  const Operations::Wait wait(operations_, operations_.begin("barrier"));
  SABER_MPI(MPI_Barrier(MPI_COMM_WORLD));
}

std::vector<std::string> MpiSession::all_gather(const std::string& mine) const {
  const Operations::Wait wait(operations_, operations_.begin("all-gather of texts"));
  const int length = narrow<int>(size_of(mine));
  std::vector<int> lengths(to_index(world_size_)), starts(to_index(world_size_));
  SABER_MPI(MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, MPI_COMM_WORLD));
  std::exclusive_scan(lengths.begin(), lengths.end(), starts.begin(), 0);
  std::string joined(to_index(starts.back() + lengths.back()), '\0');
  SABER_MPI(MPI_Allgatherv(mine.data(), length, MPI_CHAR, joined.data(), lengths.data(), starts.data(), MPI_CHAR,
                           MPI_COMM_WORLD));
  std::vector<std::string> out;
  for (std::size_t r = 0; r < lengths.size(); ++r) {
    out.push_back(joined.substr(to_index(starts[r]), to_index(lengths[r])));
  }
  return out;
}

void MpiSession::abort(int exit_status) const {
  spdlog::default_logger()->flush();
  std::fflush(nullptr);
  MPI_Abort(MPI_COMM_WORLD, exit_status);
  std::_Exit(exit_status);
}

int MpiSession::num_threads() const {
  if (is_root() && num_wasting_ranks_ > 0) {
    spdlog::warn(
        "{} of {} ranks are bound to one core while their hosts have cores that no rank uses: "
        "start with `mpirun --bind-to none`, or give each rank more cores",
        num_wasting_ranks_, world_size_);
  }
  return num_threads_;
}

std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  SABER_MPI(MPI_Get_library_version(text.data(), &length));
  const std::string all(text.data(), static_cast<std::size_t>(length));
  return all.substr(0, all.find_first_of(",\n"));
}

}  // namespace saber
