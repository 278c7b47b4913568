#include "trainer/library/library.h"

#include <gtest/gtest.h>

#include "core/narrow.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

void expect_own_pictures(const EmbeddingSet& set) {
  const Library library(set);
  std::vector<std::int64_t> queries;
  for (std::int64_t row = 0; row < set.num_rows; ++row) queries.push_back(row);
  const torch::Tensor own = library.own_pictures(set, queries, {0, library.size()});
  std::int64_t hits = 0;
  for (const std::int64_t row : queries) {
    for (std::int64_t item = 0; item < library.size(); ++item) {
      const bool same = set.same_picture(row, library.rows()[to_index(item)]);
      ASSERT_EQ(own[row][item].item<bool>(), same) << row << " " << item;
      if (same) ++hits;
    }
  }
  // A slice of the items is a slice of the columns.
  EXPECT_TRUE(torch::equal(library.own_pictures(set, queries, {3, 11}), own.narrow(1, 3, 8)));
  EXPECT_EQ(library.own_pictures(set, queries, {7, 7}).size(1), 0);
  EXPECT_GT(hits, library.size()) << "some queries share their picture with a library row";
}

TEST(Library, FindsItemsWithTheQuerysOwnPictureByUri) {
  expect_own_pictures(test::small_set());
}

TEST(Library, FindsItemsWithTheQuerysOwnPictureByPixels) {
  test::SmallSetSizes sizes;
  sizes.picture_size = 4;
  expect_own_pictures(test::small_set(sizes));
}

TEST(Library, ItemsAreTheLibraryRowsInOrder) {
  const EmbeddingSet set = test::small_set();
  const Library library(set);
  EXPECT_EQ(library.rows(), set.rows_of(Split::library));
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    const std::int64_t item = library.item_of(row);
    EXPECT_EQ(item >= 0, set.split[to_index(row)] == Split::library);
    if (item < 0) continue;
    EXPECT_EQ(library.rows()[to_index(item)], row);
    EXPECT_EQ(library.id(item), set.id[to_index(row)]);
  }
}

TEST(Library, WithoutRowsIsRefused) {
  EmbeddingSet set = test::small_set();
  for (Split& split : set.split) split = Split::test;
  testing_data::expect_bad_input({"/split", "no library rows"}, [&] { Library{set}; });
}

}  // namespace
}  // namespace saber
