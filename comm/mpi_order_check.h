// A debug aid: before each collective all ranks compare what they are about to do, so that ranks which disagree get an
// error instead of a hang.
#pragma once

#include "comm/mpi_session.h"

namespace saber {

// Collective. From now on each operation of `session` costs one small all-gather more. Throws, on all ranks, naming the
// ranks and what each is about to do.
void check_order_of_operations(const MpiSession& session);

}  // namespace saber
