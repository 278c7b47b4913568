#include "data/tree_reader.h"

#include <gtest/gtest.h>

#include "core/narrow.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

using testing_data::expect_bad_input;

TEST(TreeReader, SpeaksInRowsOfTheDataSet) {
  const EmbeddingSet set = test::small_set();
  const ScoreTree tree = test::small_tree(set);
  const TreeReader reader(set, tree, "tree.h5");
  std::int64_t deepest = 0, num_children = 0;
  for (std::int64_t node = 0; node < tree.size(); ++node) {
    const std::size_t i = to_index(node);
    EXPECT_EQ(set.id[to_index(reader.query_row(node))], tree.query[i]);
    const std::vector<std::int64_t> path = reader.path(node);
    if (tree.parent[i] < 0) {
      EXPECT_TRUE(path.empty());
    } else {
      std::vector<std::int64_t> wanted = reader.path(tree.parent[i]);
      wanted.push_back(RowsById(set).find(tree.demonstration[i]).value());
      EXPECT_EQ(path, wanted);
    }
    for (const std::int64_t child : reader.children()[i]) EXPECT_EQ(tree.parent[to_index(child)], node);
    num_children += size_of(reader.children()[i]);
    deepest = std::max(deepest, size_of(path));
  }
  EXPECT_EQ(deepest, 3);
  EXPECT_EQ(num_children, tree.size() - size_of(set.rows_of(Split::train)));
}

TEST(TreeReader, ATreeOfAnotherDataSetIsRefused) {
  const EmbeddingSet set = test::small_set(), other = test::small_set({}, 2);
  const ScoreTree tree = test::small_tree(other);
  expect_bad_input({"tree.h5", set.fingerprint, other.fingerprint}, [&] { TreeReader(set, tree, "tree.h5"); });
}

TEST(TreeReader, UnknownIdsAreRefusedWithTheirRow) {
  const EmbeddingSet set = test::small_set();
  ScoreTree tree = test::small_tree(set);
  tree.demonstration[5] = 999999;
  expect_bad_input({"tree.h5", "/node/icd", "row 5", "999999"}, [&] { TreeReader(set, tree, "tree.h5"); });
  tree = test::small_tree(set);
  tree.demonstration[4] = set.id[to_index(set.rows_of(Split::test)[0])];
  expect_bad_input({"/node/icd", "row 4", "no library row"}, [&] { TreeReader(set, tree, "tree.h5"); });
  tree = test::small_tree(set);
  tree.query[2] = 999998;
  expect_bad_input({"/node/query", "row 2", "999998"}, [&] { TreeReader(set, tree, "tree.h5"); });
}

}  // namespace
}  // namespace saber
