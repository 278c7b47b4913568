#include "comm/network_interface.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.h"

namespace saber {
namespace {

const NetworkAddress kLo{"lo", "127.0.0.1", false, true};
const NetworkAddress kLo6{"lo", "::1", true, true};
const NetworkAddress kFast6{"ib0", "fd00::7", true, false};
const NetworkAddress kFast{"ib0", "10.1.0.7", false, false};
const NetworkAddress kSlow{"eth0", "10.0.0.7", false, false};
const std::vector<NetworkAddress> kHost{kLo, kLo6, kFast6, kFast, kSlow};

TEST(NetworkInterface, ThisHostHasLoopback) {
  const NetworkAddress lo = find_address(network_addresses(), "lo");
  EXPECT_EQ(lo.address, "127.0.0.1");
  EXPECT_TRUE(lo.is_loopback);
  EXPECT_FALSE(lo.is_ipv6);
  EXPECT_EQ(find_address(network_addresses(), "127.0.0.1"), lo);
}

TEST(NetworkInterface, LinkLocalAddressesAreLeftOut) {
  for (const NetworkAddress& a : network_addresses()) EXPECT_NE(a.address.substr(0, 4), "fe80") << a.interface;
}

TEST(NetworkInterface, ByNameAndByAddress) {
  EXPECT_EQ(find_address(kHost, "eth0"), kSlow);
  EXPECT_EQ(find_address(kHost, "ib0"), kFast);
  EXPECT_EQ(find_address(kHost, "fd00::7"), kFast6);
  EXPECT_EQ(find_address({kLo, kFast6}, "ib0"), kFast6);
}

TEST(NetworkInterface, AnUnknownNameListsWhatThereIs) {
  try {
    find_address(kHost, "eth1");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
    EXPECT_EQ(error.place(), "comm.interface");
    EXPECT_NE(error.message().find("'eth1'"), std::string::npos);
    for (const NetworkAddress& a : kHost) {
      EXPECT_NE(error.message().find(a.interface + " (" + a.address + ")"), std::string::npos) << error.message();
    }
  }
}

TEST(NetworkInterface, TheDefaultIsTheHostNamesAddress) {
  EXPECT_EQ(default_address(kHost, {"127.0.1.1", "10.0.0.7", "10.1.0.7"}, false), kSlow);
  EXPECT_EQ(default_address(kHost, {"fd00::7"}, false), kFast6);
  // A name that leads to loopback, or nowhere, does not lead the other hosts here.
  EXPECT_EQ(default_address(kHost, {"127.0.0.1"}, false), kFast6);
  EXPECT_EQ(default_address(kHost, {}, false), kFast6);
  EXPECT_THROW(default_address({kLo, kLo6}, {"127.0.0.1"}, false), Error);
}

TEST(NetworkInterface, OneHostNeedsOnlyLoopback) {
  EXPECT_EQ(default_address(kHost, {"10.0.0.7"}, true), kLo);
  EXPECT_EQ(default_address({kSlow, kLo6}, {}, true), kLo6);
  EXPECT_THROW(default_address({kSlow}, {}, true), Error);
}

TEST(NetworkInterface, TellsAddressesFromNames) {
  for (const char* const text : {"10.0.0.7", "::1", "fd00::7"}) EXPECT_TRUE(is_address(text)) << text;
  for (const char* const text : {"eth0", "eth0.100", "eth0:1", "", "10.0.0"}) EXPECT_FALSE(is_address(text)) << text;
}

}  // namespace
}  // namespace saber
