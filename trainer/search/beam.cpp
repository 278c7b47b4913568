#include "trainer/search/beam.h"

#include <algorithm>
#include <limits>

#include "core/narrow.h"

namespace saber {
namespace {

struct Candidate {
  std::int64_t node = 0;  // index among the query's nodes
  double reward = 0;
  std::vector<std::int64_t> shots;
};

// Scores the sequences, appends a node for each, and returns those that have a score.
std::vector<Candidate> score_and_record(Scorer& scorer, const EmbeddingSet& set,
                                        const std::vector<DemonstrationSequence>& sequences,
                                        const std::vector<std::int64_t>& parents, QueryNodes& nodes) {
  std::vector<Candidate> scored;
  const std::vector<std::optional<Score>> scores = scorer.score(sequences);
  ensure(scores.size() == sequences.size(), "a scorer gives one result per sequence");
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::vector<std::int64_t>& shots = sequences[i].shots;
    const double reward = scores[i] ? scores[i]->log_likelihood : std::numeric_limits<double>::quiet_NaN();
    if (scores[i]) scored.push_back({nodes.size(), reward, shots});
    nodes.parent.push_back(parents[i]);
    nodes.demonstration.push_back(shots.empty() ? -1 : set.id[to_index(shots.back())]);
    nodes.reward.push_back(reward);
    nodes.status.push_back(scores[i] ? NodeStatus::scored : NodeStatus::failed);
  }
  return scored;
}

}  // namespace

QueryNodes beam_search(Scorer& scorer, const EmbeddingSet& set, std::int64_t query_row,
                       const std::vector<std::int64_t>& pool, std::int64_t width, std::int64_t shots) {
  QueryNodes nodes;
  nodes.query = set.id[to_index(query_row)];
  score_and_record(scorer, set, {{query_row, {}}}, {-1}, nodes);
  std::vector<Candidate> beam = {{0, 0, {}}};
  for (std::int64_t depth = 1; depth <= shots && !beam.empty(); ++depth) {
    std::vector<DemonstrationSequence> sequences;
    std::vector<std::int64_t> parents;
    for (const Candidate& candidate : beam) {
      for (const std::int64_t row : pool) {
        if (std::find(candidate.shots.begin(), candidate.shots.end(), row) != candidate.shots.end()) continue;
        sequences.push_back({query_row, candidate.shots});
        sequences.back().shots.push_back(row);
        parents.push_back(candidate.node);
      }
    }
    beam = score_and_record(scorer, set, sequences, parents, nodes);
    std::stable_sort(beam.begin(), beam.end(),
                     [](const Candidate& a, const Candidate& b) { return a.reward > b.reward; });
    beam.resize(std::min(beam.size(), to_index(width)));
  }
  return nodes;
}

QueryNodes score_sequence(Scorer& scorer, const EmbeddingSet& set, const DemonstrationSequence& list) {
  std::vector<DemonstrationSequence> beginnings;
  for (std::size_t length = 0; length <= list.shots.size(); ++length)
    beginnings.push_back({list.query, {list.shots.begin(), list.shots.begin() + static_cast<std::ptrdiff_t>(length)}});
  const std::vector<std::optional<Score>> scores = scorer.score(beginnings);
  QueryNodes nodes;
  nodes.query = set.id[to_index(list.query)];
  for (std::size_t i = 0; i < beginnings.size(); ++i) {
    nodes.parent.push_back(static_cast<std::int64_t>(i) - 1);
    nodes.demonstration.push_back(i == 0 ? -1 : set.id[to_index(list.shots[i - 1])]);
    nodes.reward.push_back(scores.at(i) ? scores[i]->log_likelihood : std::numeric_limits<double>::quiet_NaN());
    nodes.status.push_back(scores[i] ? NodeStatus::scored : NodeStatus::failed);
    if (!scores[i]) break;
  }
  return nodes;
}

}  // namespace saber
