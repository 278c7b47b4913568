// A start that the last rank keeps waiting, for the tests of StartDeadline: late_start (hangs | fails | starts).
#include <chrono>
#include <iostream>
#include <string>
#include <thread>

#include "comm/mpi_session.h"
#include "comm/start_deadline.h"

int main(int argc, char** argv) {
  using namespace std::chrono_literals;
  const saber::MpiSession session(&argc, &argv);
  const std::string mode = argc > 1 ? argv[1] : "";
  const bool is_last = session.rank() == session.world_size() - 1;
  {
    const saber::Error late(saber::ErrorKind::io, "it did not start");
    saber::StartDeadline deadline(session, late, mode == "hangs" ? 500ms : 30s);
    if (mode == "fails" && is_last) deadline.failed(saber::Error(saber::ErrorKind::io, "a cable is missing"), 500ms);
    if (mode != "starts") std::this_thread::sleep_for(45s);
  }
  session.barrier();
  if (session.is_root()) std::cout << "it started\n";
  return 0;
}
