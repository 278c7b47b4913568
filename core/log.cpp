#include "core/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <memory>

namespace saber {

void start_log(const std::string& host, int rank, const std::string& level) {
  auto logger = std::make_shared<spdlog::logger>("saber", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern(fmt::format("[%H:%M:%S.%e] [{} rank {}] [%^%l%$] %v", host, rank));
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace saber
