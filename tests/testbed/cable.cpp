// cable OUT IN DELAY_MS: a network cable with a delay, in user space, for kernels without netem.
//
// Frames that arrive on interface OUT leave on IN after DELAY_MS milliseconds; those that arrive on IN leave on OUT at
// once. Offloaded frames (up to 64 KiB, checksum not yet computed) pass unchanged, since both ends take and give them
// with their virtio header. Prints "ready" and runs until it is killed.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kMaxFrameBytes = 128 * 1024;
constexpr std::size_t kMaxQueuedBytes = std::size_t{256} << 20;  // more are dropped, as a real link would
constexpr int kBatch = 64;                                       // frames before the clock is looked at again
constexpr std::int64_t kSecondNs = 1'000'000'000;

struct Frame {
  std::int64_t due_ns;
  std::vector<char> bytes;
};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int open_port(const char* name) {
  const int port = socket(AF_PACKET, SOCK_RAW, 0);  // no frames before it is bound
  if (port < 0) die("socket");
  const int on = 1;
  const int buffer_bytes = 64 << 20;
  if (setsockopt(port, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) != 0) die("PACKET_VNET_HDR");
  if (setsockopt(port, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0) die("PACKET_IGNORE_OUTGOING");
  setsockopt(port, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes);
  setsockopt(port, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof buffer_bytes);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(if_nametoindex(name));
  if (address.sll_ifindex == 0) die(name);
  if (bind(port, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("bind");
  packet_mreq promiscuous{};
  promiscuous.mr_ifindex = address.sll_ifindex;
  promiscuous.mr_type = PACKET_MR_PROMISC;
  if (setsockopt(port, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous) != 0) die("promiscuous");
  return port;
}

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * kSecondNs + now.tv_nsec;
}

// A frame that finds no room is lost, as on a real link; an interface that is gone ends the cable.
void pass_on(int port, const char* bytes, std::size_t num_bytes) {
  if (send(port, bytes, num_bytes, 0) < 0 && errno == ENXIO) die("send");
}

// Calls `take(bytes, num_bytes)` for each frame that waits at the port, up to a batch of them.
template <typename Take>
void receive(int port, const Take& take) {
  static std::vector<char> buffer(kMaxFrameBytes);
  for (int i = 0; i < kBatch; ++i) {
    const ssize_t num_bytes = recv(port, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (num_bytes <= 0) return;
    take(buffer.data(), static_cast<std::size_t>(num_bytes));
  }
}

[[noreturn]] void run(int out, int in, std::int64_t delay_ns) {
  std::deque<Frame> queue;  // in order, since the delay is constant
  std::size_t queued_bytes = 0;
  for (;;) {
    const std::int64_t left_ns = queue.empty() ? kSecondNs : std::max<std::int64_t>(0, queue.front().due_ns - now_ns());
    const timespec timeout{left_ns / kSecondNs, left_ns % kSecondNs};
    std::array<pollfd, 2> ready{{{out, POLLIN, 0}, {in, POLLIN, 0}}};
    if (ppoll(ready.data(), ready.size(), &timeout, nullptr) < 0 && errno != EINTR) die("ppoll");
    receive(out, [&](const char* bytes, std::size_t num_bytes) {
      if (queued_bytes + num_bytes > kMaxQueuedBytes) return;
      queue.push_back({now_ns() + delay_ns, {bytes, bytes + num_bytes}});
      queued_bytes += num_bytes;
    });
    receive(in, [&](const char* bytes, std::size_t num_bytes) { pass_on(out, bytes, num_bytes); });
    while (!queue.empty() && queue.front().due_ns <= now_ns()) {
      pass_on(in, queue.front().bytes.data(), queue.front().bytes.size());
      queued_bytes -= queue.front().bytes.size();
      queue.pop_front();
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: cable OUT IN DELAY_MS\n");
    return 2;
  }
  const int out = open_port(argv[1]);
  const int in = open_port(argv[2]);
  std::puts("ready");
  std::fflush(stdout);
  run(out, in, static_cast<std::int64_t>(std::atof(argv[3]) * 1e6));
}
