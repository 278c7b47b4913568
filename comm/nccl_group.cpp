#include "comm/nccl_group.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "comm/network_interface.h"
#include "comm/rendezvous.h"
#include "comm/start_deadline.h"
#include "comm/torch_error.h"
#include "core/error.h"
#include "core/log.h"

namespace saber {
namespace {

using std::chrono::milliseconds;

constexpr const char* kHint = "start with NCCL_DEBUG=INFO to see more; comm.interface names the network to use";

// c10d's own destructor drops what is still under way. That suits an error, where waiting for other ranks could last
// for ever, but not the end of a run.
class NcclBackend : public c10d::ProcessGroupNCCL {
 public:
  using ProcessGroupNCCL::ProcessGroupNCCL;
  ~NcclBackend() override {
    try {
      if (std::uncaught_exceptions() == 0) {
        ProcessGroupNCCL::shutdown();
      } else {
        ProcessGroupNCCL::abort();
      }
    } catch (const std::exception& error) {
      spdlog::warn("NCCL did not end in order: {}", error.what());
    }
  }
};

std::string place_of(const MpiSession& session) {
  return fmt::format("rank {} on {}", session.rank(), session.host());
}

// NCCL's sockets use the interface that the setting names. An address is only held by some hosts; the others leave the
// choice to NCCL.
void set_interface_of_nccl(const MpiSession& session, const std::string& wanted) {
  if (wanted.empty()) return;
  session.on_all([&] {
    const std::vector<NetworkAddress> all = network_addresses();
    const auto holds = [&](const NetworkAddress& a) { return a.address == wanted; };
    if (is_address(wanted) && !session.is_root() && std::none_of(all.begin(), all.end(), holds)) return;
    const std::string name = find_address(all, wanted).interface;
    setenv("NCCL_SOCKET_IFNAME", ("=" + name).c_str(), /*overwrite=*/0);
  });
}

void first_all_reduce(c10d::Backend& backend, const at::Device& gpu, milliseconds timeout) {
  std::vector<at::Tensor> tensors{at::ones({1}, at::TensorOptions(gpu))};
  backend.allreduce(tensors)->wait(timeout);
  ensure(tensors[0].item<float>() == static_cast<float>(backend.getSize()), "NCCL's first sum counts the ranks");
}

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const MpiSession& session, const at::Device& gpu,
                                                    const NcclOptions& options) {
  set_interface_of_nccl(session, options.interface);
  const std::string place = place_of(session) + ", " + gpu.str();
  const Error late(ErrorKind::io, fmt::format("NCCL did not start within {} s", options.first_timeout.count() / 1000),
                   place, kHint);
  StartDeadline deadline(session, late, options.first_timeout);
  const auto store = make_store(session, options.interface, options.first_timeout);
  session.barrier();
  c10::intrusive_ptr<c10d::Backend> backend;
  session.on_all([&] {
    try {
      without_trace(place, kHint, [&] {
        const auto nccl_options = c10d::ProcessGroupNCCL::Options::create();
        nccl_options->timeout = options.first_timeout + std::chrono::minutes(1);  // ours comes first, with its message
        backend = c10::make_intrusive<NcclBackend>(store, session.rank(), session.world_size(), nccl_options);
        backend->setBoundDeviceId(gpu);
        first_all_reduce(*backend, gpu, options.first_timeout);
      });
    } catch (const Error& error) {
      deadline.failed(error);
      if (backend) backend->abort();  // the other ranks then see closed connections
      throw;
    }
  });
  backend->setTimeout(options.timeout);
  spdlog::info("NCCL {} on {}", nccl_version(), gpu.str());
  return backend;
}

std::string nccl_version() {
  return c10d::getNcclVersion();
}

}  // namespace saber
