#include "data/score_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/atomic_file.h"
#include "core/narrow.h"
#include "core/random.h"
#include "tests/data/hdf5_surgery.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/recorded_calls.h"

namespace saber {
namespace {

using testing_data::expect_bad_input;
using testing_data::expect_error;
using testing_data::Hdf5Surgery;
using testing_data::TemporaryFolder;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

ScoreTreeOrigin example_origin() {
  return {"tiny abc", "line one\nline two", "log_likelihood", "0123456789abcdef", "mixed", 4, 3, 32, -5};
}

QueryNodes example_nodes(std::int64_t query) {
  QueryNodes nodes;
  nodes.query = query;
  nodes.parent = {-1, 0, 0, 0, 2, 1, 1};
  nodes.demonstration = {-1, 20, 10, 30, 40, 50, 10};
  nodes.reward = {-3, -2.5, -2, kNan, -1, kNan, -1.5};
  nodes.status = {NodeStatus::scored, NodeStatus::scored,      NodeStatus::scored, NodeStatus::failed,
                  NodeStatus::scored, NodeStatus::prefix_only, NodeStatus::scored};
  return nodes;
}

// The same nodes in a drawn order, children before parents included.
QueryNodes shuffled(const QueryNodes& nodes, std::int64_t draw) {
  std::vector<std::int64_t> place(to_index(nodes.size()));
  for (std::size_t i = 0; i < place.size(); ++i) place[i] = static_cast<std::int64_t>(i);
  RandomStream(1, "test", {draw}).shuffle(place);
  QueryNodes result = nodes;
  for (std::size_t i = 0; i < place.size(); ++i) {
    const std::size_t to = to_index(place[i]);
    result.parent[to] = nodes.parent[i] < 0 ? -1 : place[to_index(nodes.parent[i])];
    result.demonstration[to] = nodes.demonstration[i];
    result.reward[to] = nodes.reward[i];
    result.status[to] = nodes.status[i];
  }
  return result;
}

TEST(ScoreTree, RowsAreOrderedByQueryDepthParentIcd) {
  const ScoreTree tree = build_score_tree(example_origin(), {example_nodes(9), example_nodes(2)});
  EXPECT_EQ(tree.query, (std::vector<std::int64_t>{2, 2, 2, 2, 2, 2, 2, 9, 9, 9, 9, 9, 9, 9}));
  EXPECT_EQ(tree.parent, (std::vector<std::int64_t>{-1, 0, 0, 0, 1, 2, 2, -1, 7, 7, 7, 8, 9, 9}));
  EXPECT_EQ(tree.demonstration, (std::vector<std::int64_t>{-1, 10, 20, 30, 40, 10, 50, -1, 10, 20, 30, 40, 10, 50}));
  EXPECT_EQ(tree.reward[4], -1);
  EXPECT_EQ(tree.reward[5], -1.5);
  EXPECT_EQ(tree.status[6], NodeStatus::prefix_only);
  EXPECT_TRUE(std::isnan(tree.reward[6]));
}

// The journals go as soon as it has been written.
TEST(ScoreTree, IsOnTheDiskWhenItHasBeenWritten) {
  TemporaryFolder folder;
  const ScoreTree tree = build_score_tree(example_origin(), {example_nodes(2)});
  const auto calls = test::recorded_calls(folder / ".", [&] { write_score_tree(folder / "a.h5", tree); });
  EXPECT_EQ(calls, (std::vector<std::string>{"sync .a.h5.tmp", "rename .a.h5.tmp a.h5", "sync ."}));
}

TEST(ScoreTree, BytesDoNotDependOnTheOrderOfArrival) {
  TemporaryFolder folder;
  write_score_tree(folder / "a.h5", build_score_tree(example_origin(), {example_nodes(2), example_nodes(9)}));
  const std::string wanted = read_file(folder / "a.h5");
  for (std::int64_t draw = 0; draw < 20; ++draw) {
    QueryNodes nine = shuffled(example_nodes(9), draw);
    for (std::size_t i = 0; i < nine.reward.size(); ++i) {
      if (nine.status[i] != NodeStatus::scored) nine.reward[i] = -kNan;  // another NaN
    }
    write_score_tree(folder / "b.h5",
                     build_score_tree(example_origin(), {nine, shuffled(example_nodes(2), 100 + draw)}));
    EXPECT_EQ(read_file(folder / "b.h5"), wanted) << "draw " << draw;
  }
}

TEST(ScoreTree, RoundTrip) {
  TemporaryFolder folder;
  const ScoreTree tree = build_score_tree(example_origin(), {example_nodes(2), example_nodes(9)});
  write_score_tree(folder / "scores.h5", tree);
  const ScoreTree read = read_score_tree(folder / "scores.h5");
  EXPECT_EQ(read.origin, example_origin());
  EXPECT_EQ(read_score_tree_origin(folder / "scores.h5"), example_origin());
  EXPECT_EQ(read.query, tree.query);
  EXPECT_EQ(read.parent, tree.parent);
  EXPECT_EQ(read.demonstration, tree.demonstration);
  EXPECT_EQ(read.status, tree.status);
  for (std::size_t i = 0; i < tree.reward.size(); ++i) {
    EXPECT_TRUE(read.reward[i] == tree.reward[i] || (std::isnan(read.reward[i]) && std::isnan(tree.reward[i])));
  }
  write_score_tree(folder / "empty.h5", build_score_tree(example_origin(), {}));
  EXPECT_EQ(read_score_tree(folder / "empty.h5").size(), 0);
}

TEST(ScoreTree, BuildingRefusesWhatIsNoTree) {
  const auto refuses = [](const std::string& why, auto change) {
    QueryNodes nodes = example_nodes(1);
    change(nodes);
    expect_error(ErrorKind::internal, {why}, [&] { build_score_tree(example_origin(), {nodes}); });
  };
  refuses("one root", [](QueryNodes& nodes) { nodes.parent[1] = nodes.demonstration[1] = -1; });
  refuses("scored once", [](QueryNodes& nodes) { nodes.demonstration[1] = 10; });
  refuses("hangs on", [](QueryNodes& nodes) { nodes.parent[4] = 4; });
  refuses("finite", [](QueryNodes& nodes) { nodes.reward[0] = kNan; });
  refuses("a node of its query", [](QueryNodes& nodes) { nodes.parent[4] = 7; });
  refuses("equal lengths", [](QueryNodes& nodes) { nodes.reward.pop_back(); });
  expect_error(ErrorKind::internal, {"once"}, [] {
    build_score_tree(example_origin(), {example_nodes(1), example_nodes(1)});
  });
}

TEST(ScoreTree, ReadingRefusesWhatIsNoTree) {
  TemporaryFolder folder;
  const auto path = folder / "scores.h5";
  const ScoreTree tree = build_score_tree(example_origin(), {example_nodes(2), example_nodes(9)});
  const auto refuses = [&](std::initializer_list<std::string> parts, auto change) {
    write_score_tree(path, tree);
    {
      Hdf5Surgery file(path);
      change(file);
    }
    expect_bad_input(parts, [&] { read_score_tree(path); });
  };
  refuses({"scores.h5 /node/parent row 5", "7"}, [](Hdf5Surgery& file) { file.set_int("/node/parent", 5, 7); });
  refuses({"/node/parent row 12", "3"}, [](Hdf5Surgery& file) { file.set_int("/node/parent", 12, 3); });
  refuses({"/node/parent row 7", "-1"}, [](Hdf5Surgery& file) { file.set_int("/node/parent", 7, 0); });
  refuses({"/node/icd row 2", "ordered"}, [](Hdf5Surgery& file) { file.set_int("/node/icd", 2, 10); });
  refuses({"/node/icd row 0", "root"}, [](Hdf5Surgery& file) { file.set_int("/node/icd", 0, 3); });
  refuses({"/node/icd row 3", ">= 0"}, [](Hdf5Surgery& file) { file.set_int("/node/icd", 3, -1); });
  refuses({"/node/query row 7", "ordered"}, [](Hdf5Surgery& file) {
    for (std::size_t row = 7; row < 14; ++row) file.set_int("/node/query", row, 1);
  });
  refuses({"/node/status row 4", "3"}, [](Hdf5Surgery& file) { file.set_int("/node/status", 4, 3); });
  refuses({"/node/reward row 1", "not finite"},
          [](Hdf5Surgery& file) { file.set_float("/node/reward", 1, std::nanf("")); });
  refuses({"/node/reward row 3", "wanted NaN"}, [](Hdf5Surgery& file) { file.set_float("/node/reward", 3, 1); });
  refuses({"/node/icd", "missing"}, [](Hdf5Surgery& file) { file.remove("/node/icd"); });
  refuses({"attribute version", "7"}, [](Hdf5Surgery& file) { file.set_int_attribute("version", 7); });
}

}  // namespace
}  // namespace saber
