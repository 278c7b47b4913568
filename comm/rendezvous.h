// The key-value store through which the ranks of an NCCL group find each other.
#pragma once

#include <chrono>
#include <string>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "comm/mpi_session.h"

namespace saber {

// Collective. Rank 0 serves the store on a free port of one address, the other ranks learn both over MPI and connect.
// Nothing listens on any other address. The store has no secrets and asks for none: the address should belong to the
// cluster's own network. interface: see find_address and default_address. timeout: for connecting, and for each
// operation of the store. When some rank fails, all throw.
c10::intrusive_ptr<c10d::TCPStore> make_store(const MpiSession& session, const std::string& interface,
                                              std::chrono::milliseconds timeout);

}  // namespace saber
