// An embedding data set, format `saber-embeddings` version 1 (docs/formats.md): one row per picture-question pair.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {

enum class Split : std::uint8_t { library = 0, train = 1, validation = 2, test = 3 };

Split split_of_name(const std::string& name);  // "library", "train", "validation" or "test"; else bad_input
const char* name_of(Split split);

struct TaskTable {
  std::vector<std::string> name;               // [T]
  std::vector<std::string> instruction;        // [T], shown to the LVLM
  std::vector<std::string> short_instruction;  // [T], one sentence that SabER reads
  std::vector<float> embedding;                // [T, D_T], E_T(short instruction)
  std::vector<std::int32_t> question;          // [T], tasks with the same number are asked alike; default: 0..T-1
};

// Rows in file order (parts in name order). Matrices are row-major float32, L2-normalised when loaded; a rank that
// holds a share of the library only (EmbeddingShare) leaves rows out of them, see `holds`. `query_result` and
// `text_result` of rows that are no library rows are for rewards and evaluation only.
struct EmbeddingSet {
  std::int64_t num_rows = 0;
  std::int64_t image_width = 0;     // D_I
  std::int64_t text_width = 0;      // D_T
  std::vector<float> image;         // [R, D_I]
  std::vector<float> query;         // [R, D_T]
  std::vector<float> query_result;  // [R, D_T]; empty in a file of mere queries
  std::vector<std::int64_t> slot;   // [R], of each row in the three matrices, -1: left out; empty: every row, in order
  std::vector<std::int64_t> id;     // [R], >= 0, unique
  std::vector<Split> split;         // [R]
  std::vector<std::int32_t> task;   // [R], row of the task table
  TaskTable tasks;
  std::vector<std::string> text_query;   // [R]
  std::vector<std::string> text_result;  // [R]; empty in a file of mere queries
  std::vector<std::string> image_uri;    // [R], or empty when the file holds pixels
  std::vector<std::uint8_t> pixels;      // [R, 3, H, W], or empty
  std::int64_t pixel_height = 0;
  std::int64_t pixel_width = 0;
  // 32 hex digits over ids, splits, tasks, texts, pictures and the matrices as float32 before normalisation: the same
  // data give the same fingerprint whatever their layout, compression or number of parts.
  std::string fingerprint;

  std::int64_t num_tasks() const { return static_cast<std::int64_t>(tasks.name.size()); }
  std::vector<std::int64_t> rows_of(Split wanted) const;  // in row order

  // Whether this rank has the row's embeddings.
  bool holds(std::int64_t row) const { return slot.empty() || slot[to_index(row)] >= 0; }
  bool has_query_results() const { return !query_result.empty(); }
  // Of a row that it holds. query_result_of: zeros where it is no library row.
  std::span<const float> image_of(std::int64_t row) const { return row_of(image, image_width, row); }
  std::span<const float> query_of(std::int64_t row) const { return row_of(query, text_width, row); }
  std::span<const float> query_result_of(std::int64_t row) const { return row_of(query_result, text_width, row); }
  // [3, H, W]; every rank holds the pictures of all rows, if the set has any.
  std::span<const std::uint8_t> pixels_of(std::int64_t row) const {
    const std::size_t bytes = to_index(3 * pixel_height * pixel_width);
    return std::span(pixels).subspan(to_index(row) * bytes, bytes);
  }
  // By image_uri or pixels; an empty URI is an unknown picture, which only the row itself shows.
  bool same_picture(std::int64_t a, std::int64_t b) const;

 private:
  std::span<const float> row_of(const std::vector<float>& matrix, std::int64_t width, std::int64_t row) const {
    const std::int64_t at = slot.empty() ? row : slot[to_index(row)];
    ensure(at >= 0, "this rank holds the row that it asks for");
    return std::span(matrix).subspan(to_index(at * width), to_index(width));
  }
};

// The rows of a set by their ids.
class RowsById {
 public:
  explicit RowsById(const EmbeddingSet& set);
  std::optional<std::int64_t> find(std::int64_t id) const;

 private:
  std::unordered_map<std::int64_t, std::int64_t> rows_;
};

// Whose embeddings a rank holds: its slice (slice_of_rank) of the library rows, and all other rows.
struct EmbeddingShare {
  std::int64_t rank = 0;
  std::int64_t world_size = 1;
  // false: only the rows held are read from the matrices, nothing in them is checked, the fingerprint stays empty. For
  // ranks that leave this to another one.
  bool check = true;
};

// Reads one HDF5 file, or the part-*.h5 files of a folder, and checks everything: shapes, types, version, duplicate
// ids, NaN or Inf, splits, task numbers, dimensions against the file's size. Throws bad_input whose place names
// file, data set and row. The matrices pass through memory in blocks.
EmbeddingSet read_embedding_set(const std::filesystem::path& path, const EmbeddingShare& share = {});

// Writes the set as one contiguous file by temporary name and rename; the same set gives the same bytes. Matrices are
// written as they are in memory, float32.
void write_embedding_set(const std::filesystem::path& path, const EmbeddingSet& set);

}  // namespace saber
