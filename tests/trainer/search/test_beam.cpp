#include "trainer/search/advance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/narrow.h"
#include "tests/support/fake_scorer.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

using Path = std::vector<std::int64_t>;  // rows
using test::FakeScorer;

class BeamTest : public testing::Test {
 protected:
  BeamTest() : set_(test::small_set()), query_(set_.rows_of(Split::train)[0]) {
    const std::vector<std::int64_t> library = set_.rows_of(Split::library);
    pool_ = {library.begin(), library.begin() + 6};
  }
  QueryNodes search(FakeScorer& scorer, std::int64_t width, std::int64_t shots) const {
    return run_search(scorer, BeamSearch(set_, query_, pool_, width, shots));
  }
  // Rows from the root to each node.
  std::vector<Path> paths(const QueryNodes& nodes) const {
    const RowsById rows(set_);
    std::vector<Path> out;
    for (std::int64_t i = 0; i < nodes.size(); ++i) {
      const std::int64_t parent = nodes.parent[to_index(i)];
      EXPECT_LT(parent, i) << "parents come before their children";
      out.push_back(parent < 0 ? Path{} : out[to_index(parent)]);
      if (parent >= 0) out.back().push_back(rows.find(nodes.demonstration[to_index(i)]).value());
    }
    return out;
  }
  std::set<Path> extensions(const std::set<Path>& of) const {
    std::set<Path> out;
    for (const Path& path : of) {
      for (const std::int64_t row : pool_) {
        if (std::find(path.begin(), path.end(), row) != path.end()) continue;
        out.insert(path);
        Path longer = path;
        longer.push_back(row);
        out.insert(longer);
      }
    }
    return out;
  }
  std::size_t place(std::int64_t row) const {
    return to_index(std::find(pool_.begin(), pool_.end(), row) - pool_.begin());
  }

  EmbeddingSet set_;
  std::int64_t query_;
  std::vector<std::int64_t> pool_;
};

// The value of the last demonstration counts twice, so that order matters.
constexpr double kValues[] = {5, 1, 4, 2, 6, 3};

TEST_F(BeamTest, ScoresExactlyTheExtensionsOfTheBest) {
  FakeScorer scorer([&](const DemonstrationSequence& sequence) -> std::optional<double> {
    double sum = sequence.shots.empty() ? 0 : kValues[place(sequence.shots.back())];
    for (const std::int64_t row : sequence.shots) sum += kValues[place(row)];
    return sum;
  });
  const QueryNodes nodes = search(scorer, 2, 3);
  // Depth 1: 4 (12), 0 (10). Depth 2: 0-4 (17), 4-0 (16).
  const auto row = [&](std::size_t i) { return pool_[i]; };
  std::set<Path> wanted = extensions({{}});
  wanted.merge(extensions({{row(4)}, {row(0)}}));
  wanted.merge(extensions({{row(0), row(4)}, {row(4), row(0)}}));
  const std::vector<Path> found = paths(nodes);
  EXPECT_EQ(std::set<Path>(found.begin(), found.end()), wanted);
  EXPECT_EQ(found.size(), wanted.size()) << "no sequence twice";
  EXPECT_EQ(nodes.query, set_.id[to_index(query_)]);
  for (std::int64_t i = 0; i < nodes.size(); ++i) {
    double sum = found[to_index(i)].empty() ? 0 : kValues[place(found[to_index(i)].back())];
    for (const std::int64_t shot : found[to_index(i)]) sum += kValues[place(shot)];
    EXPECT_EQ(nodes.reward[to_index(i)], sum);
    EXPECT_EQ(nodes.status[to_index(i)], NodeStatus::scored);
  }
}

TEST_F(BeamTest, CountsAndCallsFollowTheFormula) {
  for (const std::int64_t width : {1, 2, 5}) {
    for (const std::int64_t shots : {1, 2, 4}) {
      FakeScorer scorer([&](const DemonstrationSequence& s) -> std::optional<double> {
        double value = 0;
        for (const std::int64_t row : s.shots) value = 0.9 * value + kValues[place(row)];
        return value;
      });
      std::int64_t wanted = 1 + 6;
      for (std::int64_t s = 2; s <= shots; ++s) wanted += width * (6 - s + 1);
      EXPECT_EQ(search(scorer, width, shots).size(), wanted) << width << shots;
      EXPECT_EQ(size_of(scorer.calls), shots + 1);
      std::set<Path> asked;
      for (const auto& call : scorer.calls) {
        for (const DemonstrationSequence& s : call) {
          EXPECT_EQ(s.query, query_);
          EXPECT_EQ(s.shots.size(), call[0].shots.size());
          EXPECT_TRUE(asked.insert(s.shots).second) << "asked twice";
        }
      }
    }
  }
}

TEST_F(BeamTest, FailedSequencesAreRecordedAndDoNotGoOn) {
  const std::int64_t bad = pool_[4];
  FakeScorer scorer([&](const DemonstrationSequence& s) -> std::optional<double> {
    if (s.shots == Path{bad} || s.shots == Path{pool_[0], pool_[2]}) return std::nullopt;
    double sum = 0;
    for (const std::int64_t row : s.shots) sum += kValues[place(row)];
    return sum;
  });
  const QueryNodes nodes = search(scorer, 2, 3);
  const std::vector<Path> found = paths(nodes);
  std::int64_t failed = 0;
  for (std::int64_t i = 0; i < nodes.size(); ++i) {
    const Path& path = found[to_index(i)];
    const bool is_failed = path == Path{bad} || path == Path{pool_[0], pool_[2]};
    EXPECT_EQ(nodes.status[to_index(i)], is_failed ? NodeStatus::failed : NodeStatus::scored);
    EXPECT_EQ(std::isnan(nodes.reward[to_index(i)]), is_failed);
    EXPECT_FALSE(path.size() > 1 && path[0] == bad);
    EXPECT_FALSE(path.size() > 2 && path[0] == pool_[0] && path[1] == pool_[2]);
    failed += is_failed;
  }
  EXPECT_EQ(failed, 2);
}

TEST_F(BeamTest, TiesGoToTheOneFoundFirst) {
  FakeScorer scorer([](const DemonstrationSequence&) -> std::optional<double> { return 1.0; });
  const QueryNodes nodes = search(scorer, 2, 3);
  for (const Path& path : paths(nodes)) {
    if (path.size() >= 2) {
      EXPECT_TRUE(path[0] == pool_[0] || path[0] == pool_[1]);
    }
    if (path.size() == 3) {
      EXPECT_EQ(path[0], pool_[0]);
      EXPECT_TRUE(path[1] == pool_[1] || path[1] == pool_[2]);
    }
  }
}

TEST_F(BeamTest, EndsWhenThePoolIsUsedUp) {
  pool_.resize(2);
  FakeScorer scorer([](const DemonstrationSequence&) -> std::optional<double> { return 1.0; });
  EXPECT_EQ(search(scorer, 3, 5).size(), 1 + 2 + 2);
}

TEST_F(BeamTest, NothingScoredMeansTheRootAndFailedChildrenOnly) {
  FakeScorer scorer(
      [](const DemonstrationSequence& s) { return s.shots.empty() ? std::optional<double>(-1.0) : std::nullopt; });
  EXPECT_EQ(search(scorer, 2, 3).size(), 1 + 6);
}

TEST_F(BeamTest, TheNodesMakeAScoreTree) {
  FakeScorer scorer(
      [&](const DemonstrationSequence& s) { return std::optional(-static_cast<double>(s.shots.size())); });
  const QueryNodes nodes = search(scorer, 2, 2);
  EXPECT_EQ(build_score_tree(test::origin_for(set_, 2), {nodes}).size(), nodes.size());
}

TEST_F(BeamTest, AListIsAPathOfItsBeginnings) {
  const Path list = {pool_[4], pool_[1], pool_[3]};
  for (const std::size_t fails : {std::size_t{9}, std::size_t{2}}) {  // no length; the second demonstration
    FakeScorer scorer([&](const DemonstrationSequence& s) -> std::optional<double> {
      if (s.shots.size() == fails) return std::nullopt;
      return -static_cast<double>(s.shots.size());
    });
    const QueryNodes nodes = run_search(scorer, PathSearch(set_, {query_, list}));
    std::vector<Path> wanted = {{}, {list[0]}, {list[0], list[1]}, list};
    if (fails == 2) wanted.pop_back();  // nothing comes after what could not be scored
    EXPECT_EQ(paths(nodes), wanted);
    EXPECT_EQ(nodes.query, set_.id[to_index(query_)]);
    EXPECT_EQ(size_of(scorer.calls), 1);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_EQ(nodes.status[i], i == fails ? NodeStatus::failed : NodeStatus::scored);
      if (i == fails) {
        EXPECT_TRUE(std::isnan(nodes.reward[i]));
      } else {
        EXPECT_EQ(nodes.reward[i], -static_cast<double>(i));
      }
    }
  }
}

}  // namespace
}  // namespace saber
