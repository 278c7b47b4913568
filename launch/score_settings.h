// Settings of `saber score`.
#pragma once

#include <cstdint>
#include <string>

#include "core/config_schema.h"
#include "trainer/search/pool.h"

namespace saber {

struct ScoreSettings {
  std::string output;            // score.output
  std::string split;             // score.split
  std::int64_t max_queries = 0;  // score.max_queries
  std::int64_t shots = 0;        // score.shots, N
  std::int64_t beam = 0;         // score.beam, b
  std::string sequences;         // score.sequences: beam, or the baseline whose sequence it is
  PoolSettings pool;             // score.pool, score.pool_size, score.nearest, score.seed

  void declare(Schema& schema);
};

}  // namespace saber
