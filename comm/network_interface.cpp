#include "comm/network_interface.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <memory>
#include <optional>

#include "core/error.h"

namespace saber {
namespace {

// Numeric text of an IPv4 or IPv6 address; nothing for other families and for link-local IPv6.
std::optional<std::string> numeric(const sockaddr* address) {
  if (address == nullptr) return std::nullopt;
  const void* bytes = nullptr;
  if (address->sa_family == AF_INET) {
    bytes = &reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
  } else if (address->sa_family == AF_INET6) {
    const in6_addr& ipv6 = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&ipv6)) return std::nullopt;
    bytes = &ipv6;
  } else {
    return std::nullopt;
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (inet_ntop(address->sa_family, bytes, text.data(), text.size()) == nullptr) return std::nullopt;
  return std::string(text.data());
}

std::string listed(const std::vector<NetworkAddress>& all) {
  std::string out;
  for (const NetworkAddress& a : all) out += fmt::format("{}{} ({})", out.empty() ? "" : ", ", a.interface, a.address);
  return out.empty() ? "none" : out;
}

}  // namespace

std::vector<NetworkAddress> network_addresses() {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) throw_io("cannot list network interfaces", "getifaddrs", errno);
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(first, &freeifaddrs);
  std::vector<NetworkAddress> out;
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    const std::optional<std::string> address = numeric(entry->ifa_addr);
    if (!address || (entry->ifa_flags & IFF_UP) == 0) continue;
    out.push_back(
        {entry->ifa_name, *address, entry->ifa_addr->sa_family == AF_INET6, (entry->ifa_flags & IFF_LOOPBACK) != 0});
  }
  return out;
}

bool is_address(const std::string& text) {
  in6_addr bytes{};
  return inet_pton(AF_INET, text.c_str(), &bytes) == 1 || inet_pton(AF_INET6, text.c_str(), &bytes) == 1;
}

NetworkAddress find_address(const std::vector<NetworkAddress>& all, const std::string& wanted) {
  const NetworkAddress* best = nullptr;
  for (const NetworkAddress& a : all) {
    if (a.address == wanted) return a;
    if (a.interface == wanted && (best == nullptr || (best->is_ipv6 && !a.is_ipv6))) best = &a;
  }
  if (best != nullptr) return *best;
  throw_bad_input(fmt::format("no network interface or address '{}', this host has {}", wanted, listed(all)),
                  "comm.interface", "name one of these");
}

NetworkAddress default_address(const std::vector<NetworkAddress>& all, const std::vector<std::string>& named,
                               bool one_host) {
  const auto fits = [&](const NetworkAddress& a) { return a.is_loopback == one_host; };
  for (const std::string& name : named) {
    const auto held = std::find_if(all.begin(), all.end(), [&](const auto& a) { return a.address == name && fits(a); });
    if (held != all.end()) return *held;
  }
  const auto any = std::find_if(all.begin(), all.end(), fits);
  if (any != all.end()) return *any;
  throw_bad_input(fmt::format("no network interface that is up and {}, this host has {}",
                              one_host ? "a loopback" : "not a loopback", listed(all)),
                  "comm.interface", "name the interface over which the hosts reach each other");
}

std::vector<std::string> addresses_of_host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return {};
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  if (getaddrinfo(name.data(), nullptr, &wanted, &first) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(first, &freeaddrinfo);
  std::vector<std::string> out;
  for (const addrinfo* entry = first; entry != nullptr; entry = entry->ai_next) {
    if (const auto address = numeric(entry->ai_addr)) out.push_back(*address);
  }
  return out;
}

}  // namespace saber
