// A set of a few rows whose every number is known.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/narrow.h"
#include "data/embedding_set.h"

namespace saber::testing_data::example_set {

inline constexpr std::int64_t kRows = 24;
inline constexpr std::int64_t kLibrary = 18;
inline constexpr std::int64_t kImageWidth = 6;
inline constexpr std::int64_t kTextWidth = 5;

// Numbers that float16 and bfloat16 hold exactly.
inline std::vector<float> small_numbers(std::int64_t count, std::int64_t salt) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>((i * 37 + salt) % 101 - 50) / 8.0F);
  return values;
}

// Rows `begin` to `end` of one fixed set: 18 library rows, then 2 train, 2 validation, 2 test queries.
inline EmbeddingSet rows_of_example(std::int64_t begin, std::int64_t end) {
  const auto cut = [&](const std::vector<float>& matrix, std::int64_t width) {
    return std::vector<float>(matrix.begin() + begin * width, matrix.begin() + end * width);
  };
  EmbeddingSet set;
  set.num_rows = end - begin;
  set.image_width = kImageWidth;
  set.text_width = kTextWidth;
  set.image = cut(small_numbers(kRows * kImageWidth, 1), kImageWidth);
  set.query = cut(small_numbers(kRows * kTextWidth, 2), kTextWidth);
  set.query_result = cut(small_numbers(kRows * kTextWidth, 3), kTextWidth);
  set.tasks = {{"colour", "count"},
               {"Name the colour.", "Zähle."},
               {"Colour.", "Count."},
               small_numbers(2 * kTextWidth, 4),
               {0, 1}};
  for (std::int64_t row = begin; row < end; ++row) {
    set.id.push_back(1000 - row);
    set.split.push_back(row < kLibrary ? Split::library : static_cast<Split>(1 + (row - kLibrary) / 2));
    set.task.push_back(static_cast<std::int32_t>(row % 2));
    set.text_query.push_back("What is it? " + std::to_string(row));
    set.text_result.push_back(row == 3 ? "" : "réponse " + std::to_string(row));
    set.image_uri.push_back("picture-" + std::to_string(row / 2) + ".png");
  }
  return set;
}

inline EmbeddingSet example() {
  return rows_of_example(0, kRows);
}

}  // namespace saber::testing_data::example_set
