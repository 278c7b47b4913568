#include "data/embedding_matrices.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/narrow.h"
#include "tests/data/temporary_folder.h"

namespace saber {
namespace {

namespace fs = std::filesystem;
using testing_data::TemporaryFolder;

constexpr std::int64_t kWidth = 2;

bool in_library(std::int64_t row) {
  return row % 5 == 3 || row % 7 == 6;
}

// Rows `begin` to `end` of a set whose library rows lie scattered. Each row has its own direction; the results of rows
// that are no library rows are NaN, which nobody may read.
EmbeddingSet rows_of_scattered(std::int64_t begin, std::int64_t end) {
  EmbeddingSet set;
  set.num_rows = end - begin;
  set.image_width = set.text_width = kWidth;
  set.tasks = {{"task"}, {"Answer."}, {"Answer."}, {1, 0}, {0}};
  for (std::int64_t row = begin; row < end; ++row) {
    const bool library = in_library(row);
    const std::vector<float> direction = {1, static_cast<float>(row + 1) / 8192};
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (std::vector<float>* const matrix : {&set.image, &set.query, &set.query_result}) {
      for (const float value : direction) matrix->push_back(library || matrix != &set.query_result ? value : nan);
    }
    set.id.push_back(row);
    set.split.push_back(library ? Split::library : Split::train);
    set.task.push_back(0);
    set.text_query.emplace_back("?");
    set.text_result.emplace_back("!");
  }
  return set;
}

void expect_results_of_library_rows_alone(const EmbeddingSet& set) {
  ASSERT_EQ(size_of(set.query_result), set.num_rows * kWidth);
  std::int64_t wrong = 0;
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    const double slope = static_cast<double>(row + 1) / 8192, norm = std::hypot(1, slope);
    const double first = set.query_result[to_index(row * kWidth)],
                 second = set.query_result[to_index(row * kWidth + 1)];
    const bool right = in_library(row) ? std::abs(first - 1 / norm) < 1e-6 && std::abs(second - slope / norm) < 1e-6
                                       : first == 0 && second == 0;
    if (!right && ++wrong == 1) ADD_FAILURE() << "row " << row << " holds " << first << " and " << second;
  }
  EXPECT_EQ(wrong, 0) << "rows";
}

// 4,096 rows are read at a time.
TEST(EmbeddingMatrices, ResultsOfQueriesAreClearedInEveryBlock) {
  const TemporaryFolder folder;
  write_embedding_set(folder / "set.h5", rows_of_scattered(0, 10'000));
  expect_results_of_library_rows_alone(read_embedding_set(folder / "set.h5"));
}

TEST(EmbeddingMatrices, ResultsOfQueriesAreClearedInEveryPart) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "parts");
  write_embedding_set(folder / "parts/part-0.h5", rows_of_scattered(0, 3));  // no library row
  write_embedding_set(folder / "parts/part-1.h5", rows_of_scattered(3, 20));
  write_embedding_set(folder / "parts/part-2.h5", rows_of_scattered(20, 5000));
  expect_results_of_library_rows_alone(read_embedding_set(folder / "parts"));
}

}  // namespace
}  // namespace saber
