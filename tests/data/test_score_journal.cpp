#include "data/score_journal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <limits>

#include "core/atomic_file.h"
#include "core/narrow.h"
#include "tests/data/temporary_folder.h"

namespace saber {
namespace {

namespace fs = std::filesystem;
using testing_data::expect_bad_input;
using testing_data::expect_error;
using testing_data::TemporaryFolder;

ScoreTreeOrigin example_origin() {
  return {"tiny abc", "template", "log_likelihood", "fingerprint", "mixed", 4, 3, 32, 1};
}

QueryNodes example_nodes(std::int64_t query) {
  const double reward = static_cast<double>(query);
  return {query,
          {-1, 0, 1},
          {-1, 7, 8},
          {reward, reward / 3, std::numeric_limits<double>::quiet_NaN()},
          {NodeStatus::scored, NodeStatus::scored, NodeStatus::failed}};
}

std::vector<std::int64_t> queries_of(const JournalContents& contents) {
  std::vector<std::int64_t> queries;
  for (const QueryNodes& nodes : contents.queries) queries.push_back(nodes.query);
  return queries;
}

using Queries = std::vector<std::int64_t>;

TEST(ScoreJournal, RecordsOfAllRanksAndAttempts) {
  TemporaryFolder folder;
  const fs::path journals = folder / "journals";
  EXPECT_EQ(read_journals(journals, example_origin()).next_attempt, 0);
  {
    ScoreJournal a(journals, 0, 0, example_origin());
    ScoreJournal b(journals, 0, 1, example_origin());
    ScoreJournal c(journals, 12, 0, example_origin());
    a.append(example_nodes(5));
    b.append(example_nodes(4));
    c.append(example_nodes(5));
    c.append(example_nodes(0));
    c.sync();
  }
  const JournalContents contents = read_journals(journals, example_origin());
  EXPECT_EQ(queries_of(contents), (Queries{0, 4, 5}));
  EXPECT_EQ(contents.next_attempt, 13);
  const QueryNodes& nodes = contents.queries[2];
  EXPECT_EQ(nodes.parent, example_nodes(5).parent);
  EXPECT_EQ(nodes.demonstration, example_nodes(5).demonstration);
  EXPECT_EQ(nodes.status, example_nodes(5).status);
  EXPECT_EQ(nodes.reward[1], 5.0 / 3);
  EXPECT_TRUE(fs::exists(journals / "attempt-0012-rank-00000.journal"));
}

TEST(ScoreJournal, NeverWritesOverAnother) {
  TemporaryFolder folder;
  ScoreJournal first(folder / "j", 0, 0, example_origin());
  expect_error(ErrorKind::io, {"attempt-0000-rank-00000.journal"},
               [&] { ScoreJournal again(folder / "j", 0, 0, example_origin()); });
}

class OneJournal : public testing::Test {
 protected:
  // Three records; `ends_` holds the size of the file after the header and after each record.
  OneJournal() : journals_(folder_ / "j"), path_(journals_ / "attempt-0003-rank-00002.journal") {
    ScoreJournal journal(journals_, 3, 2, example_origin());
    ends_.push_back(fs::file_size(path_));
    for (const std::int64_t query : {10, 11, 12}) {
      journal.append(example_nodes(query));
      ends_.push_back(fs::file_size(path_));
    }
    whole_ = read_file(path_);
  }

  JournalContents read_with(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
    return read_journals(journals_, example_origin());
  }

  TemporaryFolder folder_;
  fs::path journals_;
  fs::path path_;
  std::vector<std::size_t> ends_;
  std::string whole_;
};

TEST_F(OneJournal, TornAtEveryByteOfTheLastRecord) {
  EXPECT_EQ(queries_of(read_with(whole_)), (Queries{10, 11, 12}));
  for (std::size_t length = ends_[2]; length < whole_.size(); ++length) {
    const JournalContents contents = read_with(whole_.substr(0, length));
    EXPECT_EQ(queries_of(contents), (Queries{10, 11})) << length;
    EXPECT_EQ(contents.next_attempt, 4);
  }
}

TEST_F(OneJournal, TornHeaderHoldsNothing) {
  for (std::size_t length = 0; length < ends_[0]; ++length) {
    const JournalContents contents = read_with(whole_.substr(0, length));
    EXPECT_TRUE(contents.queries.empty());
    EXPECT_EQ(contents.next_attempt, 4);
  }
}

TEST_F(OneJournal, AFlippedByteEndsTheFileThere) {
  for (std::size_t at = 0; at < whole_.size(); ++at) {
    std::string damaged = whole_;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    const auto intact = std::find_if(ends_.begin(), ends_.end(), [&](std::size_t end) { return end > at; });
    Queries wanted = {10, 11, 12};
    wanted.resize(static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, intact - ends_.begin() - 1)));
    EXPECT_EQ(queries_of(read_with(damaged)), wanted) << at;
  }
}

TEST_F(OneJournal, AbsurdLengthsAreDamage) {
  for (const std::uint64_t length : {~std::uint64_t{0}, ~std::uint64_t{0} - 23, std::uint64_t{1} << 40}) {
    std::string damaged = whole_;
    damaged.replace(ends_[1] + 8, 8, reinterpret_cast<const char*>(&length), 8);
    EXPECT_EQ(queries_of(read_with(damaged)), (Queries{10}));
  }
}

TEST_F(OneJournal, AnotherOriginIsNamed) {
  ScoreTreeOrigin other = example_origin();
  other.shots = 6;
  expect_bad_input({"attempt-0003-rank-00002.journal", "shots", "4", "6"}, [&] { read_journals(journals_, other); });
  other = example_origin();
  other.data_fingerprint = "another";
  expect_bad_input({"data_fingerprint", "\"fingerprint\"", "\"another\""}, [&] { read_journals(journals_, other); });
}

}  // namespace
}  // namespace saber
