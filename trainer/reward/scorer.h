// An LVLM as the trainer sees it: demonstration sequences in, one score per sequence out.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/demonstration_sequence.h"

namespace saber {

struct Score {
  double log_likelihood = 0;  // log P(the query's right answer | demonstrations, query), natural logarithm
  // Whether the LVLM answers right: its own greedy answer equals a reference, or, where it chooses among listed
  // answers, the right one is the likeliest. Nothing where that was not asked for or the LVLM cannot tell.
  std::optional<bool> correct;
};

// Sequences to be scored together.
struct ScoreRequest {
  std::int64_t tag = 0;  // comes back with the reply
  std::vector<DemonstrationSequence> sequences;
  bool judge = false;  // asks for Score::correct, too
};

struct ScoreReply {
  std::int64_t tag = 0;
  std::vector<std::optional<Score>> scores;  // one per sequence, in order; nothing where the LVLM could not score it
  std::optional<Error> unreachable;          // not_available: the LVLM could not be reached, nothing was scored
};

// A sequence's score does not depend on the others that are scored beside it, but for the last bits.
class Scorer {
 public:
  virtual ~Scorer() = default;

  // Sequences that the LVLM works on at once; 1: requests one after the other. Callers keep as many under way
  // (request_window.h).
  virtual std::int64_t slots() const { return 1; }
  // Takes a request; the work may go on after it returns. Tags of requests under way differ.
  virtual void submit(ScoreRequest request) = 0;
  // Blocks until some request under way is finished.
  virtual ScoreReply wait() = 0;

  // The scores of one request, while no other is under way. Throws not_available when the LVLM cannot be reached.
  std::vector<std::optional<Score>> score(std::span<const DemonstrationSequence> sequences, bool judge = false);

  // Longest sequence that the LVLM can read.
  virtual std::int64_t max_shots() const { return std::numeric_limits<std::int64_t>::max(); }

  // Kind and fingerprint of the LVLM, and how it is asked; stored with every score tree.
  virtual std::string identity() const = 0;
  virtual std::string prompt_template() const = 0;
};

// A scorer that works within wait(), one request after the other.
class BlockingScorer : public Scorer {
 public:
  void submit(ScoreRequest request) final { requests_.push_back(std::move(request)); }
  ScoreReply wait() final;

 protected:
  // One result per sequence. Throws not_available when the LVLM cannot be reached.
  virtual std::vector<std::optional<Score>> score_now(std::span<const DemonstrationSequence> sequences, bool judge) = 0;

 private:
  std::deque<ScoreRequest> requests_;
};

}  // namespace saber
