#include "launch/selections_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/narrow.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

class ListsFile : public testing::Test {
 protected:
  RowsByQuery read(const std::string& text) const {
    const std::string path = folder_ / "lists.jsonl";
    write_file_atomic(path, text);
    return read_selections(path, set_);
  }
  void expect_refused(const std::string& text, const std::string& wanted) const {
    try {
      read(text);
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_input);
      EXPECT_NE(std::string(error.what()).find(wanted), std::string::npos) << error.what();
    }
  }
  std::string id(std::int64_t row) const { return std::to_string(set_.id[to_index(row)]); }

  const testing_data::TemporaryFolder folder_;
  const EmbeddingSet set_ = test::small_set();
  const std::vector<std::int64_t> library_ = set_.rows_of(Split::library), queries_ = set_.rows_of(Split::test);
};

TEST_F(ListsFile, ComesBackAsItWasWritten) {
  const std::vector<std::int64_t> first = {library_[5], library_[2]}, none;
  const RowsByQuery lists = read(selection_line(set_, queries_[0], first) + selection_line(set_, queries_[1], none));
  EXPECT_EQ(lists, (RowsByQuery{{queries_[0], first}, {queries_[1], none}}));
}

TEST_F(ListsFile, OtherMembersDoNotMatter) {
  const RowsByQuery lists = read(R"({"task": "a", "id": )" + id(queries_[0]) +
                                 R"(, "demonstrations": [{"result": "b", "id": )" + id(library_[1]) + "}]}\n");
  EXPECT_EQ(lists, (RowsByQuery{{queries_[0], {library_[1]}}}));
}

TEST_F(ListsFile, NamesTheLineThatItCannotRead) {
  const std::string good = selection_line(set_, queries_[0], {library_[0]});
  expect_refused(good + "{\n", "lists.jsonl line 2");
  expect_refused(R"({"id": 3})", "is no {");
  expect_refused(good + R"({"id": 999999, "demonstrations": []})", "names id 999999");
  expect_refused(good + R"({"id": 10.5, "demonstrations": []})", "has an id 10.5, wanted a whole number");
  for (const std::int64_t query : set_.rows_of(Split::train)) {
    const auto own =
        std::find_if(library_.begin(), library_.end(), [&](auto row) { return set_.same_picture(row, query); });
    if (own == library_.end()) continue;
    expect_refused(selection_line(set_, query, {library_[3], *own}), "its own picture, as demonstration " + id(*own));
    return;
  }
  FAIL() << "no query shares its picture with a library row";
  expect_refused(good + good, "repeats query " + id(queries_[0]));
  expect_refused(selection_line(set_, queries_[0], {queries_[1]}),
                 id(queries_[1]) + " as a demonstration, which is no library row");
}

}  // namespace
}  // namespace saber
