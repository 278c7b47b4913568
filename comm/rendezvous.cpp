#include "comm/rendezvous.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "comm/network_interface.h"
#include "comm/torch_error.h"
#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

// A socket that is closed unless it is handed over.
class Socket {
 public:
  explicit Socket(int handle) : handle_(handle) {}
  ~Socket() {
    if (handle_ >= 0) close(handle_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const { return handle_; }
  int release() { return std::exchange(handle_, -1); }

 private:
  int handle_;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

SocketAddress any_port_of(const NetworkAddress& address) {
  SocketAddress out;
  out.storage.ss_family = address.is_ipv6 ? AF_INET6 : AF_INET;
  auto* const ipv4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  auto* const ipv6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  out.size = address.is_ipv6 ? sizeof *ipv6 : sizeof *ipv4;
  void* const bytes = address.is_ipv6 ? static_cast<void*>(&ipv6->sin6_addr) : static_cast<void*>(&ipv4->sin_addr);
  ensure(inet_pton(out.storage.ss_family, address.address.c_str(), bytes) == 1, "a numeric network address");
  return out;
}

std::uint16_t port_of(int socket) {
  SocketAddress bound;
  bound.size = sizeof bound.storage;
  if (getsockname(socket, bound.get(), &bound.size) != 0) throw_io("cannot read a socket's port", "getsockname", errno);
  const bool is_ipv6 = bound.storage.ss_family == AF_INET6;
  return ntohs(is_ipv6 ? reinterpret_cast<sockaddr_in6*>(&bound.storage)->sin6_port
                       : reinterpret_cast<sockaddr_in*>(&bound.storage)->sin_port);
}

// LibTorch itself would listen on all addresses; it takes over a socket that is bound already.
Socket bound_socket(const NetworkAddress& address) {
  const int handle = socket(address.is_ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (handle < 0) throw_io("cannot make a socket", address.address, errno);
  SocketAddress any_port = any_port_of(address);
  if (bind(handle, any_port.get(), any_port.size) != 0) {
    const int reason = errno;
    close(handle);
    throw_io("cannot listen on", address.address, reason);
  }
  return Socket(handle);
}

NetworkAddress serving_address(const MpiSession& session, const std::string& interface) {
  const std::vector<NetworkAddress> all = network_addresses();
  if (!interface.empty()) return find_address(all, interface);
  return default_address(all, addresses_of_host_name(), session.num_local_ranks() == session.world_size());
}

c10::intrusive_ptr<c10d::TCPStore> open_store(const MpiSession& session, const std::string& address,
                                              const c10d::TCPStoreOptions& options) {
  return without_trace(fmt::format("rank {} on {}: {} port {}", session.rank(), session.host(), address, options.port),
                       "see whether a firewall stands between the hosts; comm.interface names the network to use",
                       [&] { return c10::make_intrusive<c10d::TCPStore>(address, options); });
}

}  // namespace

c10::intrusive_ptr<c10d::TCPStore> make_store(const MpiSession& session, const std::string& interface,
                                              std::chrono::milliseconds timeout) {
  c10::intrusive_ptr<c10d::TCPStore> store;
  c10d::TCPStoreOptions options;
  options.isServer = session.is_root();
  options.waitWorkers = false;  // MPI sees to that
  options.timeout = timeout;
  const std::string place = session.on_root([&] {
    const NetworkAddress address = serving_address(session, interface);
    Socket socket = bound_socket(address);
    options.port = port_of(socket.get());
    options.masterListenFd = socket.release();
    store = open_store(session, address.address, options);
    return fmt::format("{} {}", options.port, address.address);
  });
  const std::size_t blank = place.find(' ');
  const std::string address = place.substr(blank + 1);
  session.on_all([&] {
    if (session.is_root()) return;
    options.port = narrow<std::uint16_t>(std::stoi(place.substr(0, blank)));
    store = open_store(session, address, options);
  });
  return store;
}

}  // namespace saber
