#include "trainer/reward/scorer.h"

#include <utility>

namespace saber {

std::vector<std::optional<Score>> Scorer::score(std::span<const DemonstrationSequence> sequences, bool judge) {
  submit({0, {sequences.begin(), sequences.end()}, judge});
  ScoreReply reply = wait();
  if (reply.unreachable) throw Error(*reply.unreachable);
  ensure(reply.scores.size() == sequences.size(), "a scorer gives one result per sequence");
  return std::move(reply.scores);
}

ScoreReply BlockingScorer::wait() {
  ensure(!requests_.empty(), "a request is under way");
  const ScoreRequest request = std::move(requests_.front());
  requests_.pop_front();
  try {
    return {request.tag, score_now(request.sequences, request.judge), std::nullopt};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_available) throw;
    return {request.tag, {}, error};
  }
}

}  // namespace saber
