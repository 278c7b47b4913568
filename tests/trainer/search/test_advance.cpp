#include "trainer/search/advance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/narrow.h"
#include "tests/support/fake_scorer.h"
#include "tests/support/small_world.h"
#include "trainer/reward/request_window.h"

namespace saber {
namespace {

double value_of(const DemonstrationSequence& sequence) {
  double value = -1 - 0.01 * static_cast<double>(sequence.query);
  for (const std::int64_t row : sequence.shots) value = 0.9 * value - 1e-3 * static_cast<double>(row % 7);
  return value;
}

// Answers the newest request first, and remembers how many sequences were under way at most.
class LastComeFirstServed : public Scorer {
 public:
  explicit LastComeFirstServed(std::int64_t slots) : slots_(slots) {}
  std::int64_t slots() const override { return slots_; }
  void submit(ScoreRequest request) override {
    requests.push_back(std::move(request));
    std::int64_t sequences = 0;
    for (const ScoreRequest& each : requests) sequences += size_of(each.sequences);
    most = std::max(most, sequences);
    most_requests = std::max(most_requests, size_of(requests));
  }
  ScoreReply wait() override {
    const ScoreRequest request = std::move(requests.back());
    requests.pop_back();
    if (request.tag == lost) return {request.tag, {}, Error(ErrorKind::not_available, "the server is down")};
    ScoreReply reply{request.tag, {}, {}};
    for (const DemonstrationSequence& sequence : request.sequences)
      reply.scores.emplace_back(Score{value_of(sequence), {}});
    return reply;
  }
  std::string identity() const override { return "last come, first served"; }
  std::string prompt_template() const override { return "none"; }

  std::vector<ScoreRequest> requests;
  std::int64_t most = 0, most_requests = 0, lost = -1;

 private:
  std::int64_t slots_;
};

class Advance : public testing::Test {
 protected:
  std::unique_ptr<SequenceSearch> search(std::int64_t query) const {
    const std::vector<std::int64_t> library = set_.rows_of(Split::library);
    return std::make_unique<BeamSearch>(set_, query, std::vector(library.begin(), library.begin() + 6), 2, 3);
  }
  // Nodes by the id of the query, in the order in which the searches finished.
  std::vector<QueryNodes> all(Scorer& scorer) const {
    std::vector<QueryNodes> out;
    std::size_t next = 0;
    advance_together(
        scorer, [&] { return next < queries_.size() ? search(queries_[next++]) : nullptr; },
        [&](const QueryNodes& nodes) { out.push_back(nodes); });
    return out;
  }

  EmbeddingSet set_ = test::small_set();
  std::vector<std::int64_t> queries_ = set_.rows_of(Split::train);
};

TEST_F(Advance, NodesDoNotDependOnWhatGoesOnBeside) {
  test::FakeScorer one_by_one([](const DemonstrationSequence& s) { return std::optional(value_of(s)); });
  LastComeFirstServed many(32);
  std::map<std::int64_t, QueryNodes> found;
  for (QueryNodes& nodes : all(many)) found[nodes.query] = std::move(nodes);
  const std::vector<QueryNodes> wanted = all(one_by_one);
  ASSERT_EQ(found.size(), queries_.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(wanted[i].query, set_.id[to_index(queries_[i])]) << "with one slot, one search after the other";
    const QueryNodes& same = found.at(wanted[i].query);
    EXPECT_EQ(same.parent, wanted[i].parent);
    EXPECT_EQ(same.demonstration, wanted[i].demonstration);
    EXPECT_EQ(same.reward, wanted[i].reward);
  }
}

TEST_F(Advance, AsManyAreUnderWayAsTheScorerHasSlots) {
  LastComeFirstServed one(1), four(4);
  all(one);
  EXPECT_EQ(one.most_requests, 1);
  all(four);
  EXPECT_GE(four.most, 4);
  EXPECT_GE(four.most_requests, 2) << "another request fills the slots that the end of one leaves";
}

TEST_F(Advance, AnLvlmThatCannotBeReachedIsAnError) {
  LastComeFirstServed scorer(4);
  scorer.lost = 1;
  EXPECT_THROW(all(scorer), Error);
}

TEST(RequestWindow, WhatAShortReplyLeavesOutHasFailed) {
  class Short : public BlockingScorer {
    std::vector<std::optional<Score>> score_now(std::span<const DemonstrationSequence>, bool) override {
      return {Score{-1, {}}};
    }
    std::string identity() const override { return "short"; }
    std::string prompt_template() const override { return "none"; }
  } scorer;
  RequestWindow window(scorer);
  window.submit({7, {{0, {}}, {0, {1}}}, false});
  EXPECT_FALSE(window.has_room());
  const ScoreReply reply = window.wait();
  EXPECT_EQ(reply.tag, 7);
  ASSERT_EQ(reply.scores.size(), 2U);
  EXPECT_TRUE(reply.scores[0].has_value());
  EXPECT_FALSE(reply.scores[1].has_value());
  EXPECT_TRUE(window.idle());
}

}  // namespace
}  // namespace saber
