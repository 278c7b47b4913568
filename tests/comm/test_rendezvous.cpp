#include "comm/rendezvous.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "tests/comm/mpi_world.h"

namespace saber {
namespace {

using test::mpi_world;
constexpr std::chrono::seconds kTimeout{20};

bool accepts(const char* address, std::uint16_t port) {
  sockaddr_in target{};
  target.sin_family = AF_INET;
  target.sin_port = htons(port);
  EXPECT_EQ(inet_pton(AF_INET, address, &target.sin_addr), 1);
  const int handle = socket(AF_INET, SOCK_STREAM, 0);
  const bool accepted = connect(handle, reinterpret_cast<const sockaddr*>(&target), sizeof target) == 0;
  close(handle);
  return accepted;
}

TEST(Rendezvous, RanksExchangeValues) {
  const auto store = make_store(mpi_world(), "", kTimeout);
  store->set("from " + std::to_string(mpi_world().rank()), std::vector<std::uint8_t>{7});
  for (int r = 0; r < mpi_world().world_size(); ++r) {
    EXPECT_EQ(store->get("from " + std::to_string(r)), std::vector<std::uint8_t>{7});
  }
  mpi_world().barrier();  // the store lives with rank 0's
}

TEST(Rendezvous, ListensOnOneAddressOnly) {
  const auto store = make_store(mpi_world(), "lo", kTimeout);
  EXPECT_EQ(store->getHost(), "127.0.0.1");
  EXPECT_TRUE(accepts("127.0.0.1", store->getPort()));
  EXPECT_FALSE(accepts("127.0.0.2", store->getPort()));  // also loopback: a socket bound to all addresses would accept
  mpi_world().barrier();
}

TEST(Rendezvous, AnUnknownInterfaceIsOneErrorOfAllRanks) {
  try {
    make_store(mpi_world(), "no-such-interface", kTimeout);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
    EXPECT_NE(error.message().find("lo (127.0.0.1)"), std::string::npos) << error.message();
  }
}

}  // namespace
}  // namespace saber
