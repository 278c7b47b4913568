// A query and the ordered demonstrations that the LVLM reads before it.
#pragma once

#include <cstdint>
#include <vector>

namespace saber {

// Rows of an embedding data set.
struct DemonstrationSequence {
  std::int64_t query = 0;
  std::vector<std::int64_t> shots;  // in the order in which the LVLM reads them
};

}  // namespace saber
