// Settings of `saber select`.
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

}  // namespace saber
