#include "data/training_scenes.h"

#include <gtest/gtest.h>

#include "core/narrow.h"
#include "tests/data/example_set.h"
#include "tests/data/temporary_folder.h"

namespace saber {
namespace {

using testing_data::expect_bad_input;
using testing_data::TemporaryFolder;
namespace example_set = testing_data::example_set;

struct Row {
  std::uint8_t picture;  // all of its bytes
  Split split;
  std::int32_t task;
  std::string answer;
};

// Pictures of 3 x 2; the tasks are colour and shape.
EmbeddingSet set_of(const std::vector<Row>& rows) {
  EmbeddingSet set;
  set.num_rows = size_of(rows);
  set.pixel_height = 3;
  set.pixel_width = 2;
  set.tasks.name = {"colour", "shape"};
  for (const Row& row : rows) {
    set.pixels.insert(set.pixels.end(), 3 * 3 * 2, row.picture);
    set.split.push_back(row.split);
    set.task.push_back(row.task);
    set.text_result.push_back(row.answer);
  }
  return set;
}

std::vector<Row> some_rows() {
  return {{7, Split::library, 1, "ring"},    {7, Split::library, 0, "teal"}, {9, Split::test, 0, "umber"},
          {5, Split::train, 0, "ochre"},     {7, Split::train, 1, "ring"},   {8, Split::library, 1, "bar"},
          {5, Split::validation, 1, "blob"}, {4, Split::library, 1, "teal"}};
}

TEST(OwnScenes, AttributesAreTasksValuesAreAnswersAndScenesAreDistinctPictures) {
  const SceneSet scenes = scenes_of(set_of(some_rows()), "f.h5");
  EXPECT_EQ(scenes.num_scenes, 4);
  EXPECT_EQ(scenes.height, 3);
  EXPECT_EQ(scenes.width, 2);
  std::vector<std::uint8_t> pixels;
  for (const std::uint8_t picture : std::vector<std::uint8_t>{7, 5, 8, 4}) pixels.insert(pixels.end(), 18, picture);
  EXPECT_EQ(scenes.pixels, pixels);
  EXPECT_EQ(scenes.label_names, (std::vector<std::string>{"colour", "shape"}));
  EXPECT_EQ(scenes.vocabulary, (std::vector<std::string>{"bar", "ochre", "ring", "teal"}));
  EXPECT_EQ(scenes.label_sizes, (std::vector<std::int32_t>{2, 3}));
  EXPECT_EQ(scenes.plain_words, (std::vector<std::int32_t>{1, 3, 0, 2, 3})) << "ochre, teal; bar, ring, teal";
  EXPECT_EQ(scenes.labels, (std::vector<std::int32_t>{1, 1, 0, -1, -1, 0, -1, 2}));
  EXPECT_FALSE(scenes.shows_query_again);
}

TEST(OwnScenes, ValidationAndTestRowsAreNotLookedAt) {
  const SceneSet wanted = scenes_of(set_of(some_rows()), "f.h5");
  std::vector<Row> rows = some_rows();
  rows[2] = {200, Split::test, 1, "two words"};
  rows[6] = {7, Split::validation, 1, ""};  // beside ring, for the same picture
  rows.push_back({201, Split::validation, 0, "new"});
  const SceneSet found = scenes_of(set_of(rows), "f.h5");
  EXPECT_EQ(found.num_scenes, wanted.num_scenes);
  EXPECT_EQ(found.pixels, wanted.pixels);
  EXPECT_EQ(found.labels, wanted.labels);
  EXPECT_EQ(found.label_sizes, wanted.label_sizes);
  EXPECT_EQ(found.vocabulary, wanted.vocabulary);
  EXPECT_EQ(found.plain_words, wanted.plain_words);
}

TEST(OwnScenes, RefusesWhatCannotTrain) {
  const auto refused = [](std::initializer_list<std::string> parts, EmbeddingSet set) {
    expect_bad_input(parts, [&] { scenes_of(set, "f.h5"); });
  };
  EmbeddingSet set = set_of(some_rows());
  set.pixels.clear();
  refused({"f.h5 /pixels", "is not there"}, set);
  set = set_of(some_rows());
  set.text_result.clear();
  refused({"f.h5 /text/result", "is not there"}, set);
  for (const std::string answer : {"", "dark teal", "teal\n"}) {
    std::vector<Row> rows = some_rows();
    rows[3].answer = answer;
    refused({"f.h5 /text/result row 3", "holds '" + answer + "'", "wanted one word"}, set_of(rows));
  }
  std::vector<Row> rows = some_rows();
  rows[3].answer = "teal";
  refused({"f.h5 /tasks/name row 0", "'colour' has 1 different answer in", "wanted at least 2"}, set_of(rows));
  rows = some_rows();
  rows[4].answer = "bar";
  refused({"f.h5 /text/result row 4", "holds 'bar'", "row 0", "'ring'"}, set_of(rows));
}

TEST(OwnScenes, AFileOrAFolderOfPartsIsReadAsWhatItsFormatSays) {
  const TemporaryFolder folder;
  EmbeddingSet set = example_set::example();
  set.image_uri.clear();
  set.pixel_height = set.pixel_width = 1;
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    set.pixels.insert(set.pixels.end(), 3, static_cast<std::uint8_t>(row));
    set.text_result[to_index(row)] = "word" + std::to_string(row % 6);
  }
  write_embedding_set(folder / "own.h5", set);
  const SceneSet own = read_training_scenes(folder / "own.h5");
  EXPECT_EQ(own.num_scenes, example_set::kLibrary + 2);
  EXPECT_EQ(own.label_sizes, (std::vector<std::int32_t>{3, 3}));
  std::filesystem::create_directory(folder / "parts");
  write_embedding_set(folder / "parts" / "part-0.h5", set);
  EXPECT_EQ(read_training_scenes(folder / "parts").labels, own.labels);
  set.text_result[1] = "";
  write_embedding_set(folder / "own.h5", set);
  expect_bad_input({(folder / "own.h5").string() + " /text/result row 1"},
                   [&] { read_training_scenes(folder / "own.h5"); });

  SceneSet scenes = own;
  for (std::int32_t& label : scenes.labels) label = 0;
  write_scene_set(folder / "scenes.h5", scenes);
  EXPECT_TRUE(read_training_scenes(folder / "scenes.h5").shows_query_again);
}

}  // namespace
}  // namespace saber
