#include "trainer/search/pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/narrow.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

using Rows = std::vector<std::int64_t>;

class PoolTest : public testing::Test {
 protected:
  PoolTest() : set_(test::small_set()), similarity_(set_) {}

  Rows pool(const std::string& kind, std::int64_t query, std::int64_t size = 8, std::int64_t nearest = 10,
            std::int64_t seed = 1) const {
    return candidate_pool({kind, size, nearest, seed}, set_, similarity_, query);
  }
  Rows allowed(std::int64_t query) const {
    Rows out;
    for (const std::int64_t row : set_.rows_of(Split::library)) {
      if (!set_.same_picture(row, query)) out.push_back(row);
    }
    return out;
  }
  double score(std::int64_t a, std::int64_t b) const {
    double sum = 0;
    for (std::int64_t i = 0; i < 8; ++i) {
      sum += double{set_.image[to_index(8 * a + i)]} * double{set_.image[to_index(8 * b + i)]};
      sum += double{set_.query[to_index(8 * a + i)]} * double{set_.query[to_index(8 * b + i)]};
    }
    return sum / 2;
  }
  Rows nearest(std::int64_t query, std::int64_t count) const {
    Rows out = allowed(query);
    std::sort(out.begin(), out.end(), [&](auto a, auto b) { return score(query, a) > score(query, b); });
    out.resize(to_index(count));
    return out;
  }

  EmbeddingSet set_;
  Similarity similarity_;
};

TEST_F(PoolTest, SimilaritiesAreCosines) {
  const std::int64_t query = set_.rows_of(Split::train)[1];
  const std::vector<float> both = similarity_.image_and_query(query);
  ASSERT_EQ(size_of(both), 40);
  for (std::size_t i = 0; i < both.size(); ++i) {
    EXPECT_NEAR(both[i], score(query, similarity_.library()[i]), 1e-6);
  }
  EXPECT_NEAR(similarity_.image(similarity_.library()[3])[3], 1, 1e-6);
}

TEST_F(PoolTest, HoldsDistinctLibraryRowsInOrderAndNeverTheQuerysPicture) {
  std::int64_t twins = 0;
  for (const std::string kind : {"random", "similarity", "mixed"}) {
    for (const std::int64_t query : set_.rows_of(Split::train)) {
      const Rows all = allowed(query), found = pool(kind, query);
      EXPECT_EQ(found.size(), 8U);
      EXPECT_TRUE(std::is_sorted(found.begin(), found.end()));
      EXPECT_EQ(std::set<std::int64_t>(found.begin(), found.end()).size(), 8U);
      EXPECT_TRUE(std::includes(all.begin(), all.end(), found.begin(), found.end())) << kind;
      EXPECT_EQ(pool(kind, query, size_of(all)), all) << "as large as it may be";
      twins += 40 - size_of(all);
    }
  }
  EXPECT_GT(twins, 0) << "the fixture has queries whose picture is in the library";
}

TEST_F(PoolTest, IsKeyedByTheQuerysIdAndTheSeedAlone) {
  const Rows queries = set_.rows_of(Split::train);
  for (const std::string kind : {"random", "mixed"}) {
    std::vector<Rows> forward, backward;
    for (const std::int64_t query : queries) forward.push_back(pool(kind, query));
    for (auto query = queries.rbegin(); query != queries.rend(); ++query) backward.push_back(pool(kind, *query));
    std::reverse(backward.begin(), backward.end());
    EXPECT_EQ(forward, backward);
    EXPECT_NE(forward[0], forward[1]);
    EXPECT_NE(pool(kind, queries[0], 8, 10, 2), forward[0]) << "another seed";
    const Rows before = pool(kind, queries[0]);
    std::swap(set_.id[to_index(queries[0])], set_.id[to_index(queries[1])]);
    EXPECT_NE(pool(kind, queries[0]), before) << "another id";
    std::swap(set_.id[to_index(queries[0])], set_.id[to_index(queries[1])]);
  }
}

TEST_F(PoolTest, SimilarityTakesTheNearest) {
  for (const std::int64_t query : set_.rows_of(Split::train)) {
    Rows wanted = nearest(query, 8);
    std::sort(wanted.begin(), wanted.end());
    EXPECT_EQ(pool("similarity", query), wanted);
  }
}

TEST_F(PoolTest, MixedTakesHalfFromTheNearest) {
  std::int64_t near_rows = 0, far_rows = 0;
  for (const std::int64_t query : set_.rows_of(Split::train)) {
    const Rows near = nearest(query, 10), found = pool("mixed", query);
    const auto count = std::count_if(found.begin(), found.end(), [&](std::int64_t row) {
      return std::find(near.begin(), near.end(), row) != near.end();
    });
    EXPECT_GE(count, 4);
    near_rows += count;
    far_rows += 8 - count;
    Rows all_near = nearest(query, 4);
    std::sort(all_near.begin(), all_near.end());
    const Rows tight = pool("mixed", query, 8, 4);  // nearest = half: all of them
    EXPECT_TRUE(std::includes(tight.begin(), tight.end(), all_near.begin(), all_near.end()));
  }
  EXPECT_GT(far_rows, 6) << "the other half comes from the whole library";
}

TEST_F(PoolTest, ASmallLibraryIsRefused) {
  const std::int64_t query = set_.rows_of(Split::train)[0];
  const std::string id = std::to_string(set_.id[to_index(query)]);
  testing_data::expect_bad_input({"score.pool_size is 41", id}, [&] { pool("random", query, 41); });
}

TEST_F(PoolTest, TiesGoToTheSmallerRow) {
  const std::vector<float> equal(40, 0.5F);
  Rows found;
  for (const ScoredRow& scored : top_rows(similarity_, equal, 3, [](std::int64_t row) { return row != 1; }))
    found.push_back(scored.row);
  const Rows library = similarity_.library();
  Rows wanted;
  for (const std::int64_t row : library) {
    if (row != 1 && wanted.size() < 3) wanted.push_back(row);
  }
  EXPECT_EQ(found, wanted);
}

}  // namespace
}  // namespace saber
