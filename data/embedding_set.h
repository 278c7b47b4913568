// An embedding data set, format `saber-embeddings` version 1 (docs/formats.md): one row per picture-question pair.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

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
// holds a share of the library only (EmbeddingShare) leaves rows out of them, see `place`. `query_result` and
// `text_result` of rows that are no library rows are for rewards and evaluation only.
struct EmbeddingSet {
  std::int64_t num_rows = 0;
  std::int64_t image_width = 0;     // D_I
  std::int64_t text_width = 0;      // D_T
  std::vector<float> image;         // [R, D_I]
  std::vector<float> query;         // [R, D_T]
  std::vector<float> query_result;  // [R, D_T]; empty in a file of mere queries
  std::vector<std::int64_t> place;  // [R], of each row in the three matrices, -1: left out; empty: every row, in order
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
  std::int64_t row_of_id(std::int64_t wanted) const;      // -1 when absent
  // By image_uri or pixels; an empty URI is an unknown picture, which only the row itself shows.
  bool same_picture(std::int64_t a, std::int64_t b) const;
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
