#include "trainer/reward/reward_gather.h"

#include <cmath>
#include <limits>
#include <set>

#include "comm/message_gather.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/narrow.h"
#include "core/slice.h"
#include "trainer/reward/request_window.h"

namespace saber {
namespace {

// One message entry: the reward of new sequence number `sequence`. The first entry of a message is no reward: its
// number is the digest of all new sequences.
struct ScoredSequence {
  std::int64_t sequence = 0;
  double reward = 0;
};

std::int64_t digest_of(const std::vector<DemonstrationSequence>& sequences) {
  std::vector<std::int64_t> rows;
  for (const DemonstrationSequence& sequence : sequences) {
    rows.push_back(sequence.query);
    rows.insert(rows.end(), sequence.shots.begin(), sequence.shots.end());
  }
  return static_cast<std::int64_t>(hash64({reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof rows[0]}));
}

// Sequences to score, each once, in order; first[i] is where the i-th query with any begins, with an end mark.
struct NewSequences {
  std::vector<DemonstrationSequence> sequences;
  std::vector<std::int64_t> first;
};

NewSequences find_new(std::span<const DemonstrationSequence> sequences, const RewardStore& store) {
  NewSequences out;
  std::set<std::vector<std::int64_t>> seen;  // of the query at hand
  std::int64_t query = -1;
  for (const DemonstrationSequence& sequence : sequences) {
    if (sequence.query != query) seen.clear();
    query = sequence.query;
    if (store.find(sequence) || !seen.insert(sequence.shots).second) continue;
    if (out.sequences.empty() || out.sequences.back().query != query) out.first.push_back(size_of(out.sequences));
    out.sequences.push_back(sequence);
  }
  out.first.push_back(size_of(out.sequences));
  return out;
}

// The log-likelihoods of sequences begin .. end - 1, NaN where there is none: a request for each query. The requests of
// a scorer that is not available are lost, no others.
std::vector<double> ask(Scorer& scorer, const NewSequences& fresh, Slice queries) {
  const std::int64_t begin = fresh.first[to_index(queries.begin)], end = fresh.first[to_index(queries.end)];
  std::vector<double> out(to_index(end - begin), std::numeric_limits<double>::quiet_NaN());
  RequestWindow window(scorer);
  for (std::int64_t next = queries.begin; next < queries.end || !window.idle();) {
    if (next < queries.end && window.has_room()) {
      const auto of = [&](std::int64_t query) { return fresh.sequences.begin() + fresh.first[to_index(query)]; };
      window.submit({next, {of(next), of(next + 1)}, /*judge=*/false});
      ++next;
      continue;
    }
    const ScoreReply reply = window.wait();
    if (reply.unreachable) spdlog::warn("no rewards for the sequences of a query: {}", reply.unreachable->what());
    const std::int64_t first = fresh.first[to_index(reply.tag)] - begin;
    for (std::size_t i = 0; i < reply.scores.size(); ++i) {
      if (reply.scores[i]) out[to_index(first) + i] = reply.scores[i]->log_likelihood;
    }
  }
  return out;
}

}  // namespace

GatheredRewards gather_rewards(std::span<const DemonstrationSequence> sequences, Scorer& scorer, RewardStore& store,
                               c10d::ProcessGroup& group, c10::Device carrier) {
  const NewSequences fresh = find_new(sequences, store);
  const Slice queries = slice_of_rank(size_of(fresh.first) - 1, group.getRank(), group.getSize());
  const std::int64_t begin = fresh.first[to_index(queries.begin)];
  const std::vector<double> scored = ask(scorer, fresh, queries);

  std::int64_t most = 1;  // entries of a message: the digest and the sequences of the rank that has most
  for (std::int64_t r = 0; r < group.getSize(); ++r) {
    const Slice of_rank = slice_of_rank(size_of(fresh.first) - 1, r, group.getSize());
    most = std::max(most, 1 + fresh.first[to_index(of_rank.end)] - fresh.first[to_index(of_rank.begin)]);
  }
  MessageGather gather(group, carrier);
  const std::span<ScoredSequence> mine = gather.prepare<ScoredSequence>(most);
  mine[0] = {digest_of(fresh.sequences), 0.0};
  std::int64_t count = 1;
  for (std::size_t i = 0; i < scored.size(); ++i) {
    if (std::isfinite(scored[i])) mine[to_index(count++)] = {begin + static_cast<std::int64_t>(i), scored[i]};
  }
  gather.gather<ScoredSequence>(count);
  std::vector<std::optional<double>> rewards(fresh.sequences.size());
  for (std::int64_t r = 0; r < group.getSize(); ++r) {
    const std::span<const ScoredSequence> theirs = gather.of_rank<ScoredSequence>(r);
    ensure(!theirs.empty() && theirs[0].sequence == mine[0].sequence, "all ranks know the same rewards");
    for (const ScoredSequence& entry : theirs.subspan(1)) rewards.at(to_index(entry.sequence)) = entry.reward;
  }

  GatheredRewards out;
  out.asked = size_of(fresh.sequences);
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    store.add(fresh.sequences[i], rewards[i]);
    if (!rewards[i]) ++out.failed;
  }
  for (const DemonstrationSequence& sequence : sequences) {
    out.rewards.push_back(store.find(sequence).value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  return out;
}

}  // namespace saber
