// One function per command, each in its own file. They return the exit status; errors are thrown. device: of this
// rank's models.
#pragma once

#include <string>

#include "comm/mpi_session.h"
#include "comm/process_group.h"
#include "launch/settings.h"

namespace saber {

int run_data(const MpiSession& session, const Settings& settings, const std::string& action);
int run_lvlm(const MpiSession& session, const Settings& settings, const torch::Device& device);

int run_score(const MpiSession& session, const Settings& settings, const torch::Device& device);
int run_train(const MpiSession& session, const Settings& settings, const torch::Device& device,
              c10d::ProcessGroup& group);
int run_select(const MpiSession& session, const Settings& settings, const torch::Device& device,
               c10d::ProcessGroup& group);
int run_eval(const MpiSession& session, const Settings& settings, const torch::Device& device,
             c10d::ProcessGroup& group);

}  // namespace saber
