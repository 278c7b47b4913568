// Settings of `saber select` and `saber eval`.
#pragma once

#include <cstdint>
#include <string>

#include "core/config_schema.h"

namespace saber {

struct SelectSettings {
  std::string queries;     // select.queries
  std::string split;       // select.split
  std::string output;      // select.output
  std::int64_t shots = 0;  // select.shots
  void declare(Schema& schema);
};

struct EvalSettings {
  std::string output;            // eval.output
  std::string split;             // eval.split
  std::int64_t max_queries = 0;  // eval.max_queries
  std::int64_t shots = 0;        // eval.shots
  std::int64_t seed = 0;         // eval.seed
  void declare(Schema& schema);
};

}  // namespace saber
