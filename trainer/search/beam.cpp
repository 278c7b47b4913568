#include "trainer/search/beam.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {

SequenceSearch::SequenceSearch(const EmbeddingSet& set, std::int64_t query_row) : set_(set) {
  nodes_.query = set.id[to_index(query_row)];
}

std::int64_t SequenceSearch::add_node(const DemonstrationSequence& sequence, std::int64_t parent,
                                      const std::optional<Score>& score) {
  nodes_.parent.push_back(parent);
  nodes_.demonstration.push_back(sequence.shots.empty() ? -1 : set_.id[to_index(sequence.shots.back())]);
  nodes_.reward.push_back(score ? score->log_likelihood : std::numeric_limits<double>::quiet_NaN());
  nodes_.status.push_back(score ? NodeStatus::scored : NodeStatus::failed);
  return nodes_.size() - 1;
}

BeamSearch::BeamSearch(const EmbeddingSet& set, std::int64_t query_row, std::vector<std::int64_t> pool,
                       std::int64_t width, std::int64_t shots)
    : SequenceSearch(set, query_row), pool_(std::move(pool)), width_(width), shots_(shots), parents_{-1} {
  wanted_ = {{query_row, {}}};
}

void BeamSearch::take(std::span<const std::optional<Score>> scores) {
  ensure(scores.size() == wanted_.size(), "a search takes one result per sequence");
  const bool at_root = wanted_.front().shots.empty();
  std::vector<Candidate> beam;
  for (std::size_t i = 0; i < wanted_.size(); ++i) {
    const std::int64_t node = add_node(wanted_[i], parents_[i], scores[i]);
    if (scores[i]) beam.push_back({node, scores[i]->log_likelihood, wanted_[i].shots});
  }
  if (at_root) beam = {{0, 0, {}}};  // the search goes on from a root that failed, too
  std::stable_sort(beam.begin(), beam.end(),
                   [](const Candidate& a, const Candidate& b) { return a.reward > b.reward; });
  beam.resize(std::min(beam.size(), to_index(width_)));
  extend(beam);
}

// What the next depth wants: every row of the pool after every sequence of the beam.
void BeamSearch::extend(const std::vector<Candidate>& beam) {
  const std::int64_t depth = size_of(wanted_.front().shots), query = wanted_.front().query;
  wanted_.clear();
  parents_.clear();
  if (depth == shots_) return;
  for (const Candidate& candidate : beam) {
    for (const std::int64_t row : pool_) {
      if (std::find(candidate.shots.begin(), candidate.shots.end(), row) != candidate.shots.end()) continue;
      wanted_.push_back({query, candidate.shots});
      wanted_.back().shots.push_back(row);
      parents_.push_back(candidate.node);
    }
  }
}

PathSearch::PathSearch(const EmbeddingSet& set, const DemonstrationSequence& sequence)
    : SequenceSearch(set, sequence.query) {
  for (std::size_t length = 0; length <= sequence.shots.size(); ++length) {
    const auto end = sequence.shots.begin() + static_cast<std::ptrdiff_t>(length);
    wanted_.push_back({sequence.query, {sequence.shots.begin(), end}});
  }
}

void PathSearch::take(std::span<const std::optional<Score>> scores) {
  ensure(scores.size() == wanted_.size(), "a search takes one result per sequence");
  for (std::size_t i = 0; i < wanted_.size(); ++i) {
    add_node(wanted_[i], static_cast<std::int64_t>(i) - 1, scores[i]);
    if (!scores[i]) break;
  }
  wanted_.clear();
}

}  // namespace saber
