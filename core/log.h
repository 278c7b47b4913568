// The log: spdlog on standard error, host and rank in every line.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace saber {

// level: debug, info, warning or error. Call once, after the rank is known; before it, lines carry no rank.
void start_log(const std::string& host, int rank, const std::string& level);

}  // namespace saber
