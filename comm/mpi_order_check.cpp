#include "comm/mpi_order_check.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <vector>

#include "comm/mpi_check.h"
#include "core/narrow.h"

namespace saber {
namespace {

// Compared as bytes.
struct Intention {
  std::int64_t number = 0, bytes = 0;
  std::array<char, 24> kind{}, type{};

  explicit Intention(const Operation& operation) : number(operation.number), bytes(operation.bytes) {
    std::strncpy(kind.data(), operation.kind, kind.size() - 1);
    std::strncpy(type.data(), operation.type, type.size() - 1);
  }
  Intention() = default;
  bool operator==(const Intention&) const = default;
  std::string text() const { return fmt::format("{} #{} ({} bytes {})", kind.data(), number, bytes, type.data()); }
};

void compare(const Operation& operation, int world_size, MPI_Comm communicator) {
  const Intention mine(operation);
  std::vector<Intention> all(to_index(world_size));
  SABER_MPI(MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, communicator));
  for (std::size_t r = 1; r < all.size(); ++r) {
    if (all[r] == all[0]) continue;
    throw Error(ErrorKind::internal,
                fmt::format("ranks disagree about the next operation: rank 0 begins {}, rank {} begins {}",
                            all[0].text(), r, all[r].text()),
                "comm.check_order");
  }
}

}  // namespace

void check_order_of_operations(const MpiSession& session) {
  MPI_Comm communicator = MPI_COMM_NULL;  // lives until MPI_Finalize
  SABER_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &communicator));
  SABER_MPI(MPI_Comm_set_errhandler(communicator, MPI_ERRORS_RETURN));
  session.operations().set_check([world = session.world_size(), communicator](const Operation& operation) {
    compare(operation, world, communicator);
  });
}

}  // namespace saber
