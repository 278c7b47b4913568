// Settings of `saber select` and `saber eval`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config_schema.h"
#include "trainer/search/selector.h"

namespace saber {

struct SelectSettings {
  std::string queries;               // select.queries
  std::string split;                 // select.split
  std::string output;                // select.output
  SelectOptions options;             // select.shots, beam, same_task, distinct_pictures, distinct_answers, exclude
  std::vector<std::string> exclude;  // as texts
  std::string prompts;               // select.prompts: none | flat | multi_turn
  bool two_phase = false;            // select.two_phase

  void declare(Schema& schema);
  // options with select.exclude as numbers, which the schema has checked.
  SelectOptions all_options() const;
};

struct EvalSettings {
  std::string output;              // eval.output
  std::string split;               // eval.split
  std::int64_t max_queries = 0;    // eval.max_queries
  std::int64_t shots = 0;          // eval.shots
  std::int64_t beam = 0;           // eval.beam
  std::int64_t seed = 0;           // eval.seed
  bool baselines = true;           // eval.baselines
  std::vector<std::string> also;   // eval.also
  std::vector<std::string> lists;  // eval.lists
  std::string save_lists;          // eval.save_lists

  void declare(Schema& schema);
};

}  // namespace saber
