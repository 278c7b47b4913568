#include "data/embedding_set_checks.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "core/error.h"
#include "core/hash.h"
#include "core/narrow.h"

namespace saber {
namespace {

double squared_norm(std::span<const float> row) {
  double sum = 0;
  for (const float value : row) sum += static_cast<double>(value) * static_cast<double>(value);
  return sum;
}

template <class T>
void add_column(Fingerprint& fingerprint, const std::vector<T>& values) {
  fingerprint.add_values(std::span<const T>(values));
}

void add_texts(Fingerprint& fingerprint, const std::vector<std::string>& texts) {
  const std::int64_t count = size_of(texts);
  fingerprint.add_values(std::span(&count, 1));
  for (const std::string& text : texts) fingerprint.add_text(text);
}

}  // namespace

void require_vectors(const std::vector<float>& matrix, std::int64_t width, const PlaceOfRow& place) {
  const std::int64_t num_rows = size_of(matrix) / width;
  for (std::int64_t r = 0; r < num_rows; ++r) {
    const std::span row(matrix.data() + r * width, to_index(width));
    const double norm = squared_norm(row);
    if (!std::isfinite(norm)) {
      const bool nan = std::any_of(row.begin(), row.end(), [](float value) { return std::isnan(value); });
      throw_bad_input(std::string("holds ") + (nan ? "NaN" : "an infinity") + ", wanted finite numbers", place(r));
    }
    if (norm == 0) throw_bad_input("is all zeros, wanted a vector that can be normalised", place(r));
  }
}

void require_unique_ids(const std::vector<std::int64_t>& id, const PlaceOfRow& place) {
  std::vector<std::int64_t> order(id.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return id[to_index(a)] < id[to_index(b)]; });
  const auto repeated = std::adjacent_find(
      order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return id[to_index(a)] == id[to_index(b)]; });
  if (repeated == order.end()) return;
  throw_bad_input(
      "is " + std::to_string(id[to_index(*repeated)]) + " as is " + place(*repeated) + ", wanted unique ids",
      place(*(repeated + 1)));
}

void normalise_rows(std::vector<float>& matrix, std::int64_t width) {
  for (std::int64_t r = 0; r < size_of(matrix) / width; ++r) {
    const std::span row(matrix.data() + r * width, to_index(width));
    const double norm = std::sqrt(squared_norm(row));
    if (norm == 0) continue;
    for (float& value : row) value = static_cast<float>(static_cast<double>(value) / norm);
  }
}

void add_columns(const EmbeddingSet& set, Fingerprint& fingerprint) {
  const std::int64_t sizes[] = {set.num_rows, set.image_width, set.text_width, set.pixel_height, set.pixel_width};
  fingerprint.add_values(std::span<const std::int64_t>(sizes));
  add_texts(fingerprint, set.tasks.name);
  add_texts(fingerprint, set.tasks.instruction);
  add_texts(fingerprint, set.tasks.short_instruction);
  add_column(fingerprint, set.tasks.embedding);
  add_column(fingerprint, set.tasks.question);
  add_column(fingerprint, set.id);
  add_column(fingerprint, set.split);
  add_column(fingerprint, set.task);
  add_texts(fingerprint, set.text_query);
  add_texts(fingerprint, set.text_result);
  add_texts(fingerprint, set.image_uri);
  add_column(fingerprint, set.pixels);
}

std::string fingerprint_of(const EmbeddingSet& set) {
  Fingerprint fingerprint;
  add_columns(set, fingerprint);
  add_column(fingerprint, set.image);
  add_column(fingerprint, set.query);
  add_column(fingerprint, set.query_result);
  return fingerprint.hex();
}

void require_consistent(const EmbeddingSet& set) {
  const std::int64_t rows = set.num_rows;
  const std::int64_t tasks = set.num_tasks();
  const std::int64_t held =
      set.slot.empty() ? rows : rows - std::count(set.slot.begin(), set.slot.end(), std::int64_t{-1});
  const auto has_rows = [&](const auto& column, std::int64_t width) { return size_of(column) == rows * width; };
  const auto absent_or_rows = [&](const auto& column, std::int64_t width) {
    return column.empty() || has_rows(column, width);
  };
  ensure(rows > 0 && tasks > 0 && set.image_width > 0 && set.text_width > 0, "an embedding set has rows and widths");
  ensure(size_of(set.image) == held * set.image_width && size_of(set.query) == held * set.text_width,
         "a row for every embedding");
  ensure(set.query_result.empty() || size_of(set.query_result) == held * set.text_width,
         "query_result has all rows or none");
  ensure(has_rows(set.id, 1) && has_rows(set.split, 1) && has_rows(set.task, 1), "a row for every id, split and task");
  ensure(has_rows(set.text_query, 1) && absent_or_rows(set.text_result, 1), "a row for every text");
  const bool library = std::find(set.split.begin(), set.split.end(), Split::library) != set.split.end();
  ensure(!library || held == 0 || (!set.query_result.empty() && !set.text_result.empty()), "library rows have results");
  ensure(absent_or_rows(set.image_uri, 1), "image_uri has all rows or none");
  ensure(absent_or_rows(set.pixels, 3 * set.pixel_height * set.pixel_width), "pixels have all rows or none");
  ensure(set.image_uri.empty() || set.pixels.empty(), "pictures are URIs or pixels");
  ensure(size_of(set.tasks.instruction) == tasks && size_of(set.tasks.short_instruction) == tasks &&
             size_of(set.tasks.embedding) == tasks * set.text_width,
         "the task table has equal columns");
  ensure(set.tasks.question.empty() || size_of(set.tasks.question) == tasks, "a question number for every task");
}

}  // namespace saber
