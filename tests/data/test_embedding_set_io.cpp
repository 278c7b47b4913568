#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/data/example_set.h"
#include "tests/data/temporary_folder.h"

namespace saber {
namespace {

using namespace testing_data::example_set;

void widen(std::vector<float>& matrix, std::int64_t rows) {
  matrix.resize(to_index(size_of(matrix) + rows), 1);
}

void store_pixels(EmbeddingSet& set, std::int64_t height, std::int64_t width) {
  set.image_uri.clear();
  set.pixel_height = height;
  set.pixel_width = width;
  set.pixels.assign(to_index(set.num_rows * 3 * height * width), 9);
}

// A folder of two parts, the second of them changed.
void expect_refused(const std::string& name, const std::function<void(EmbeddingSet&)>& change,
                    const std::function<void(EmbeddingSet&)>& change_of_both = nullptr) {
  const testing_data::TemporaryFolder folder;
  EmbeddingSet first = rows_of_example(0, 10), second = rows_of_example(10, kRows);
  for (EmbeddingSet* const part : {&first, &second}) {
    if (change_of_both) change_of_both(*part);
  }
  write_embedding_set(folder / "part-0.h5", first);
  write_embedding_set(folder / "part-1.h5", second);
  EXPECT_NO_THROW(read_embedding_set(folder / ".")) << name;
  change(second);
  write_embedding_set(folder / "part-1.h5", second);
  testing_data::expect_bad_input({"part-1.h5 " + name + ": differs from that of", "part-0.h5", "must agree"},
                                 [&] { read_embedding_set(folder / "."); });
}

TEST(EmbeddingSetParts, EveryFieldThatPartsShareIsCompared) {
  expect_refused("/tasks/name", [](EmbeddingSet& part) { part.tasks.name[1] = "other"; });
  expect_refused("/tasks/instruction", [](EmbeddingSet& part) { part.tasks.instruction[1] = "other"; });
  expect_refused("/tasks/short_instruction", [](EmbeddingSet& part) { part.tasks.short_instruction[1] = "other"; });
  expect_refused("/tasks/embedding", [](EmbeddingSet& part) { part.tasks.embedding[3] += 1; });
  expect_refused("/tasks/question", [](EmbeddingSet& part) { part.tasks.question[1] = 0; });
}

TEST(EmbeddingSetParts, WidthsAreCompared) {
  expect_refused("/tasks/embedding", [](EmbeddingSet& part) {
    ++part.text_width;
    widen(part.query, part.num_rows);
    widen(part.query_result, part.num_rows);
    widen(part.tasks.embedding, part.num_tasks());
  });
  expect_refused("/image width", [](EmbeddingSet& part) {
    ++part.image_width;
    widen(part.image, part.num_rows);
  });
}

TEST(EmbeddingSetParts, TheKindOfPicturesIsCompared) {
  const auto pixels = [](EmbeddingSet& part) { store_pixels(part, 2, 3); };
  expect_refused("/image_uri", pixels);
  expect_refused("/image_uri", [](EmbeddingSet& part) { part.image_uri.clear(); });
  expect_refused(
      "/pixels size", [](EmbeddingSet& part) { store_pixels(part, 4, 3); }, pixels);
  expect_refused(
      "/pixels size", [](EmbeddingSet& part) { store_pixels(part, 2, 4); }, pixels);
}

}  // namespace
}  // namespace saber
