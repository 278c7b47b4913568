// The session of the test program, which all its tests share: MPI starts once per process.
#pragma once

#include "comm/mpi_session.h"

namespace saber::test {

const MpiSession& mpi_world();

}  // namespace saber::test
