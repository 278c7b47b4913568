// Addresses of this host, and which of them other ranks shall use.
#pragma once

#include <string>
#include <vector>

namespace saber {

struct NetworkAddress {
  std::string interface;  // eth0
  std::string address;    // numeric, IPv4 or IPv6
  bool is_ipv6 = false;
  bool is_loopback = false;

  bool operator==(const NetworkAddress&) const = default;
};

// Of all interfaces that are up, in the system's order. Link-local IPv6 addresses are left out: they mean nothing to
// another host.
std::vector<NetworkAddress> network_addresses();

// Whether the text is an IPv4 or IPv6 address in numbers, rather than a name.
bool is_address(const std::string& text);

// wanted: the name of an interface (its first IPv4 address, else its first IPv6 one) or an address. Throws bad_input
// that lists what there is.
NetworkAddress find_address(const std::vector<NetworkAddress>& all, const std::string& wanted);

// Where nobody said which: loopback in a one-host world; else the first address of `named` (those of the host's name)
// that an interface holds and that is not loopback; else the first one that is not loopback. Throws bad_input, with the
// setting to use, where there is none.
NetworkAddress default_address(const std::vector<NetworkAddress>& all, const std::vector<std::string>& named,
                               bool one_host);

// The addresses that this host's own name leads to, numeric; empty when it leads to none.
std::vector<std::string> addresses_of_host_name();

}  // namespace saber
