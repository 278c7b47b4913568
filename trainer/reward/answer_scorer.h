// An LVLM that also tells how probable answers are that nobody calls right. Two baselines ask for that
// (docs/baselines.md).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/demonstration_sequence.h"

namespace saber {

class AnswerScorer {
 public:
  virtual ~AnswerScorer() = default;

  // What the LVLM would answer, the query's own result unread: for each sequence log P of each of `answers` (at least
  // one), as if there were no others. content_free: the number of a query without content, 0 to num_content_free() - 1,
  // that stands in the query's stead. Nothing where the LVLM failed.
  virtual std::vector<std::optional<std::vector<double>>> answer_log_probabilities(
      std::span<const DemonstrationSequence> sequences, std::span<const std::string> answers,
      std::optional<std::int64_t> content_free = {}) = 0;
  virtual std::int64_t num_content_free() const = 0;
};

}  // namespace saber
