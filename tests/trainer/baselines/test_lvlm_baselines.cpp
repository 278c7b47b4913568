#include "trainer/baselines/lvlm_baselines.h"

#include <gtest/gtest.h>

#include "tests/support/fake_scorer.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

using Chosen = std::optional<std::vector<std::int64_t>>;
constexpr std::int64_t kQuery = 7;

// Library rows 0 to 6 and the train query 7, "q", whose picture and question are (1, 0). `qr`: of question and result.
EmbeddingSet hand_made() {
  struct Row {
    float image[2], query[2], qr[2];
    const char *question, *answer;
  };
  const std::vector<Row> rows = {{{1, 0}, {1, 0}, {1, 0}, "q", "a"},       {{0, 1}, {1, 0}, {1, 0}, "q", "a"},
                                 {{1, 0}, {1, 0}, {0.6F, 0.8F}, "q", "b"}, {{1, 0}, {0, 1}, {0, 1}, "p", "b"},
                                 {{0, 1}, {0, 1}, {0.8F, 0.6F}, "p", "a"}, {{-1, 0}, {1, 0}, {1, 0}, "q", "a"},
                                 {{0, -1}, {0, 1}, {0, -1}, "p", "c"},     {{1, 0}, {1, 0}, {0, 0}, "q", "c"}};
  EmbeddingSet set;
  set.num_rows = static_cast<std::int64_t>(rows.size());
  set.image_width = set.text_width = 2;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    set.image.insert(set.image.end(), rows[i].image, rows[i].image + 2);
    set.query.insert(set.query.end(), rows[i].query, rows[i].query + 2);
    set.query_result.insert(set.query_result.end(), rows[i].qr, rows[i].qr + 2);
    set.text_query.emplace_back(rows[i].question);
    set.text_result.emplace_back(rows[i].answer);
    set.image_uri.push_back("picture " + std::to_string(i));
    set.id.push_back(static_cast<std::int64_t>(100 + i));
    set.split.push_back(i == kQuery ? Split::train : Split::library);
    set.task.push_back(0);
  }
  set.tasks = {{"task"}, {"Answer."}, {"Answer."}, {1, 0}, {0}};
  return set;
}

class Asking : public testing::Test {
 protected:
  Chosen select(const std::string& name, std::int64_t shots, std::int64_t seed = 1) {
    const Baselines others(set_, shots, seed);
    return LvlmBaselines(set_, shots, seed, others, scorer_).select(name, kQuery);
  }
  // The LVLM's own answer, a, b or c.
  void answers(const std::string& answer) {
    scorer_.answer_rule = [answer](const DemonstrationSequence&, std::optional<std::int64_t>) {
      return std::vector{answer == "a" ? 0.8 : 0.1, answer == "b" ? 0.8 : 0.1, answer == "c" ? 0.8 : 0.1};
    };
  }

  EmbeddingSet set_ = hand_made();
  test::FakeScorer scorer_{[](const DemonstrationSequence&) { return std::nullopt; }};
};

TEST_F(Asking, IqprByHand) {
  // "a": question and answer are (1, 0), of row 0. Joint scores of rows 0 to 6: 1, .5, .8, .5, .4, 0, 0; of the text:
  // 1, 1, .6, 0, .8, 1, 0.
  answers("a");
  EXPECT_EQ(select("iqpr", 1), (Chosen{{0}}));
  EXPECT_EQ(select("iqpr", 2), (Chosen{{1, 0}}))
      << "rows 0, 1 and 5 have equal texts: by the joint score, the best last";
  // "b": (.6, .8), of row 2. Joint: .8, .3, 1, .9, .48, -.2, -.4; text: .6, .6, 1, .8, .96, .6, -.8.
  answers("b");
  EXPECT_EQ(select("iqpr", 1), (Chosen{{2}}));
  EXPECT_EQ(select("iqpr", 2), (Chosen{{4, 2}}));
}

TEST_F(Asking, IqprLooksAtFourTimesAsManyAsItShows) {
  // For "b" and one demonstration the four nearest are 2, 3, 0 and 4. With row 2's picture turned away they are 3 (.9),
  // 0 (.8), 4 (.48) and 1 (.3): row 2, whose text is the query's own, is not among them.
  set_.image[4] = -1;  // joint score 0
  answers("b");
  EXPECT_EQ(select("iqpr", 1), (Chosen{{4}}));
}

TEST_F(Asking, IqprAsksAfterTheRandomDemonstrations) {
  answers("a");
  select("iqpr", 3);
  ASSERT_EQ(scorer_.asked.size(), 1U);
  EXPECT_EQ(scorer_.asked[0].shots, Baselines(set_, 3, 1).select("random", std::vector{kQuery})[0]);
  EXPECT_TRUE(scorer_.calls.empty()) << "the right answer is not asked for";
}

TEST_F(Asking, TheQuerysResultIsNotRead) {
  for (const std::string name : {"iqpr", "iq2iq_influence"}) {
    answers("b");
    set_.text_result[kQuery] = "a";
    const Chosen before = select(name, 2);
    set_.text_result[kQuery] = "c";
    EXPECT_EQ(select(name, 2), before) << name;
  }
}

TEST_F(Asking, QuestionAndAnswer) {
  const Baselines others(set_, 2, 1);
  const LvlmBaselines asking(set_, 2, 1, others, scorer_);
  EXPECT_EQ(asking.question_and_answer(kQuery, "b"), (std::vector<float>{0.6F, 0.8F})) << "row 2 has both";
  // Nobody answers "c" to "q": half way between the question (1, 0) and row 6's (0, -1).
  const std::vector<float> half = asking.question_and_answer(kQuery, "c");
  EXPECT_NEAR(half[0], std::sqrt(0.5), 1e-6);
  EXPECT_NEAR(half[1], -std::sqrt(0.5), 1e-6);
}

TEST_F(Asking, DemoOrdersIq2iqsRows) {
  // iq2iq of two: rows 0 and 2, both with score 1, the smaller row last. The LVLM answers with more conviction after
  // 0, 2 than after 2, 0.
  EXPECT_EQ(Baselines(set_, 2, 1).select("iq2iq", std::vector{kQuery})[0], (std::vector<std::int64_t>{2, 0}));
  scorer_.answer_rule = [](const DemonstrationSequence& asked, std::optional<std::int64_t> content_free) {
    const bool sure = !content_free && asked.shots == std::vector<std::int64_t>{0, 2};
    return sure ? std::vector{0.1, 0.8, 0.1} : std::vector{0.3, 0.4, 0.3};
  };
  EXPECT_EQ(select("iq2iq_influence", 2), (Chosen{{0, 2}}));
}

TEST_F(Asking, WhereTheLvlmFailsNothingIsChosen) {
  scorer_.answer_rule = [](const DemonstrationSequence&, std::optional<std::int64_t>) { return std::vector<double>(); };
  EXPECT_EQ(select("iqpr", 2), std::nullopt);
  EXPECT_EQ(select("iq2iq_influence", 2), std::nullopt);
}

TEST_F(Asking, OracleBeamFindsWhatAGreedySearchMisses) {
  // Row 0 is the best first demonstration, but the best pair begins with row 1.
  test::FakeScorer scorer([](const DemonstrationSequence& sequence) -> std::optional<double> {
    if (sequence.shots == std::vector<std::int64_t>{0}) return -1;
    if (sequence.shots == std::vector<std::int64_t>{1, 0}) return -0.2;
    return -1.5 - 0.01 * static_cast<double>(sequence.shots.empty() ? 0 : sequence.shots.back());
  });
  const Baselines others(set_, 2, 1);
  EXPECT_EQ(LvlmBaselines(set_, 2, 1, others, scorer).select("oracle_beam", kQuery), (Chosen{{1, 0}}));
}

TEST(BestOfDeepest, TheLargestRewardOfTheLongest) {
  const NodeStatus ok = NodeStatus::scored, failed = NodeStatus::failed;
  QueryNodes nodes;
  nodes.parent = {-1, 0, 0, 1, 1, 2};
  nodes.demonstration = {-1, 10, 20, 20, 30, 10};
  nodes.reward = {-3, -0.1, -2, -0.8, -0.7, -0.2};
  nodes.status = {ok, ok, ok, ok, ok, failed};
  EXPECT_EQ(best_of_deepest(nodes), (std::vector<std::int64_t>{10, 30})) << "a shorter one is better, another failed";
  nodes.reward = {-3, -0.1, -2, -0.7, -0.7, -0.2};
  EXPECT_EQ(best_of_deepest(nodes), (std::vector<std::int64_t>{10, 20})) << "equal: the first";
  nodes.status = {ok, failed, failed, failed, failed, failed};
  EXPECT_TRUE(best_of_deepest(nodes).empty());
}

TEST(LvlmBaselines, Names) {
  EXPECT_EQ(LvlmBaselines::names(), (std::vector<std::string>{"iqpr", "iq2iq_influence", "oracle_beam"}));
}

}  // namespace
}  // namespace saber
