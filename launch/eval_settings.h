// Settings of `saber eval`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config_schema.h"

namespace saber {

struct EvalSettings {
  std::string output;                   // eval.output
  std::string split;                    // eval.split
  std::int64_t max_queries = 0;         // eval.max_queries
  std::int64_t shots = 0;               // eval.shots
  std::int64_t beam = 0;                // eval.beam
  std::int64_t seed = 0;                // eval.seed
  bool baselines = true;                // eval.baselines
  std::vector<std::string> also;        // eval.also
  std::vector<std::string> selections;  // eval.selections
  std::string save_selections;          // eval.save_selections

  void declare(Schema& schema);
};

}  // namespace saber
