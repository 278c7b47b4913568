// The device that this rank computes on.
#pragma once

#include <c10/core/Device.h>

#include <string>

#include "comm/mpi_session.h"

namespace saber {

// Collective. setting: of `device`, auto | cpu | cuda (device_choice.h). A GPU is this rank's alone and becomes the
// current one; cuBLAS is then told to work deterministically (CUBLAS_WORKSPACE_CONFIG, unless it is set). Throws on all
// ranks: not_available, with what to do, where there is not one GPU for each rank; io for a GPU that cannot be used.
c10::Device own_device(const MpiSession& session, const std::string& setting);

}  // namespace saber
