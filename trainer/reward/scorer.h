// An LVLM as the trainer sees it: demonstration sequences in, one score per sequence out.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/demonstration_sequence.h"

namespace saber {

struct Score {
  double log_likelihood = 0;  // log P(the query's right answer | shots, query), natural logarithm
  bool correct = false;       // the right answer is the LVLM's own first choice
};

class Scorer {
 public:
  virtual ~Scorer() = default;

  // One result per sequence, in the same order; nothing where the LVLM could not score it. A sequence's score does not
  // depend on the other sequences of the call, but for the last bits. Throws not_available when the LVLM cannot be
  // reached: then nothing of the call was scored. Fastest when the sequences of one call have one
  // query and length, and their prefixes were part of the call before.
  virtual std::vector<std::optional<Score>> score(std::span<const DemonstrationSequence> sequences) = 0;

  // What the LVLM would answer, the query's own result unread: for each sequence log P of each of `answers` (at least
  // one), as if there were no others. content_free: the number of a query without content, 0 to num_content_free() - 1,
  // that stands in place of each sequence's query. LVLMs that cannot be asked so throw bad_input.
  virtual std::vector<std::optional<std::vector<double>>> answer_log_probabilities(
      std::span<const DemonstrationSequence> sequences, std::span<const std::string> answers,
      std::optional<std::int64_t> content_free = {});
  virtual std::int64_t num_content_free() const { return 0; }

  // Longest sequence that the LVLM can read.
  virtual std::int64_t max_shots() const { return std::numeric_limits<std::int64_t>::max(); }

  // Kind and fingerprint of the LVLM, and how it is asked; stored with every score tree.
  virtual std::string identity() const = 0;
  virtual std::string prompt_template() const = 0;
};

}  // namespace saber
