#include "trainer/baselines/baselines.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "core/narrow.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

using Rows = std::vector<std::int64_t>;

class BaselinesTest : public testing::Test {
 protected:
  BaselinesTest() : set_(test::small_set()), baselines_(set_, 4, 1) {
    queries_ = set_.rows_of(Split::train);
    for (const Split split : {Split::validation, Split::test}) {
      for (const std::int64_t row : set_.rows_of(split)) queries_.push_back(row);
    }
  }
  static Rows select(const Baselines& baselines, const std::string& name, std::int64_t query) {
    return baselines.select(name, Rows{query}).at(0);
  }
  double dot(const std::vector<float>& matrix, std::int64_t a, std::int64_t b) const {
    double sum = 0;
    for (std::int64_t i = 0; i < 8; ++i) {
      sum += double{matrix[to_index(8 * a + i)]} * double{matrix[to_index(8 * b + i)]};
    }
    return sum;
  }
  bool same_task(std::int64_t a, std::int64_t b) const { return set_.task[to_index(a)] == set_.task[to_index(b)]; }
  const std::string& answer(std::int64_t row) const { return set_.text_result[to_index(row)]; }
  // Library rows from worst to best, the best four.
  Rows best_four(std::int64_t query, const std::function<double(std::int64_t)>& score, bool filtered) const {
    Rows rows;
    for (const std::int64_t row : set_.rows_of(Split::library)) {
      if (!set_.same_picture(row, query) && (!filtered || same_task(row, query))) rows.push_back(row);
    }
    std::sort(rows.begin(), rows.end(), [&](auto a, auto b) { return score(a) < score(b); });
    return {rows.end() - 4, rows.end()};
  }

  EmbeddingSet set_;
  Baselines baselines_;
  Rows queries_;
};

TEST_F(BaselinesTest, NamesAreThoseOfTheTable) {
  EXPECT_EQ(Baselines::names(), (std::vector<std::string>{"zero_shot", "random", "i2i", "iq2iq", "task_filtered_random",
                                                          "task_filtered_iq2iq", "task_filtered_i2i", "label_probe",
                                                          "label_probe_train", "oracle"}));
  EXPECT_THROW(select(baselines_, "no such", queries_[0]), Error);
}

TEST_F(BaselinesTest, SelectDistinctLibraryRowsWithoutTheQuerysPicture) {
  for (const std::string& name : Baselines::names()) {
    for (const std::int64_t query : queries_) {
      const Rows rows = select(baselines_, name, query);
      EXPECT_EQ(rows.size(), name == "zero_shot" ? 0U : 4U) << name;
      EXPECT_EQ(std::set<std::int64_t>(rows.begin(), rows.end()).size(), rows.size());
      for (const std::int64_t row : rows) {
        EXPECT_EQ(set_.split[to_index(row)], Split::library);
        EXPECT_FALSE(set_.same_picture(row, query)) << name;
        const bool filtered = name.find("task_filtered") == 0 || name.find("label_probe") == 0 || name == "oracle";
        EXPECT_TRUE(!filtered || same_task(row, query)) << name;
      }
    }
  }
}

TEST_F(BaselinesTest, ManyQueriesAreChosenForOneByOne) {
  for (const std::string& name : Baselines::names()) {
    const std::vector<Rows> together = baselines_.select(name, queries_);
    ASSERT_EQ(together.size(), queries_.size());
    for (std::size_t q = 0; q < queries_.size(); ++q) EXPECT_EQ(together[q], select(baselines_, name, queries_[q]));
  }
}

TEST_F(BaselinesTest, TheMostSimilarComesLast) {
  for (const std::int64_t query : queries_) {
    const auto image = [&](std::int64_t row) { return dot(set_.image, query, row); };
    const auto both = [&](std::int64_t row) { return image(row) + dot(set_.query, query, row); };
    EXPECT_EQ(select(baselines_, "i2i", query), best_four(query, image, false));
    EXPECT_EQ(select(baselines_, "iq2iq", query), best_four(query, both, false));
    EXPECT_EQ(select(baselines_, "task_filtered_i2i", query), best_four(query, image, true));
    EXPECT_EQ(select(baselines_, "task_filtered_iq2iq", query), best_four(query, both, true));
  }
}

TEST_F(BaselinesTest, TheOracleTakesTheRightAnswerFirst) {
  for (const std::int64_t query : queries_) {
    const auto score = [&](std::int64_t row) {
      return dot(set_.image, query, row) + (answer(row) == answer(query) ? 10 : 0);
    };
    EXPECT_EQ(select(baselines_, "oracle", query), best_four(query, score, true));
  }
}

TEST_F(BaselinesTest, TheLabelProbeTakesItsFirstChoiceFirst) {
  const LabelProbe library_only(set_, Baselines::kProbeRidge);
  const LabelProbe with_train(set_, Baselines::kProbeRidge, {Split::library, Split::train});
  std::int64_t different = 0;
  for (const std::int64_t query : queries_) {
    for (const auto& [name, probe] : {std::pair("label_probe", &library_only), {"label_probe_train", &with_train}}) {
      const std::vector<std::string> ranked = probe->ranked_answers(query);
      const auto score = [&](std::int64_t row) {
        const auto rank = std::find(ranked.begin(), ranked.end(), answer(row)) - ranked.begin();
        return dot(set_.image, query, row) - 10 * static_cast<double>(rank);
      };
      EXPECT_EQ(select(baselines_, name, query), best_four(query, score, true));
    }
    if (library_only.ranked_answers(query) != with_train.ranked_answers(query)) ++different;
  }
  EXPECT_GT(different, 0);
}

TEST_F(BaselinesTest, OnlyTheOracleLooksAtTheQuerysAnswer) {
  std::vector<Rows> before;
  for (int round = 0; round < 2; ++round) {
    std::size_t i = 0;
    for (const std::string& name : Baselines::names()) {
      if (name == "oracle") continue;
      for (const std::int64_t query : queries_) {
        const Rows rows = select(Baselines(set_, 4, 1), name, query);
        if (round == 0) before.push_back(rows);
        EXPECT_EQ(rows, before[i++]) << name;
      }
    }
    for (const std::int64_t query : queries_) {  // train queries' answers are label_probe_train's to know
      if (set_.split[to_index(query)] != Split::train) set_.text_result[to_index(query)] = "w0";
    }
  }
}

TEST_F(BaselinesTest, RandomOnesAreKeyedBySeedNameAndQuery) {
  const std::int64_t query = queries_[0];
  const Baselines again(set_, 4, 1), other(set_, 4, 2);
  select(again, "random", queries_[1]);
  EXPECT_EQ(select(again, "random", query), select(baselines_, "random", query));
  EXPECT_NE(select(other, "random", query), select(baselines_, "random", query));
  EXPECT_NE(select(baselines_, "random", queries_[1]), select(baselines_, "random", query));
}

TEST_F(BaselinesTest, ALibraryTooSmallGivesWhatItHas) {
  const Baselines many(set_, 100, 1);
  for (const std::string name : {"random", "i2i", "task_filtered_random", "oracle"}) {
    const std::size_t found = select(many, name, queries_[0]).size();
    EXPECT_TRUE(found > 10 && found <= 40) << name << found;
  }
}

}  // namespace
}  // namespace saber
