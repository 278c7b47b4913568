#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/narrow.h"
#include "data/embedding_matrices.h"
#include "data/embedding_set.h"
#include "data/embedding_set_checks.h"
#include "data/hdf5_file.h"

namespace saber {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFormat = "saber-embeddings";
constexpr std::int64_t kVersion = 1;

// The width of a matrix of floats with as many rows; wanted: 0 for any.
std::int64_t width_of(const Hdf5Reader& file, const std::string& name, std::int64_t rows, std::int64_t wanted) {
  file.read_float_rows(name, {rows, wanted == 0 ? kAnySize : wanted}, 0, 0);  // its type and shape
  const std::int64_t width = file.shape(name)[1];
  if (width == 0) throw_bad_input("has rows without numbers", file.place(name));
  return width;
}

TaskTable read_tasks(const Hdf5Reader& file, std::int64_t& text_width) {
  TaskTable tasks;
  tasks.name = file.read_strings("/tasks/name", kAnySize);
  const std::int64_t count = size_of(tasks.name);
  if (count == 0) throw_bad_input("holds no task, wanted at least one", file.place("/tasks/name"));
  tasks.instruction = file.read_strings("/tasks/instruction", count);
  tasks.short_instruction = file.read_strings("/tasks/short_instruction", count);
  text_width = width_of(file, "/tasks/embedding", count, 0);
  tasks.embedding = file.read_floats("/tasks/embedding", {count, text_width});
  require_vectors(tasks.embedding, text_width, [&](std::int64_t row) { return file.place("/tasks/embedding", row); });
  if (file.has("/tasks/question")) {
    tasks.question = file.read<std::int32_t>("/tasks/question", {count});
  } else {
    tasks.question.resize(to_index(count));
    std::iota(tasks.question.begin(), tasks.question.end(), 0);
  }
  return tasks;
}

template <class T>
void require_range(const Hdf5Reader& file, const std::string& name, const std::vector<T>& values, std::int64_t min,
                   std::int64_t max, const std::string& wanted) {
  for (std::int64_t row = 0; row < size_of(values); ++row) {
    const auto value = static_cast<std::int64_t>(values[to_index(row)]);
    if (value < min || value > max) {
      throw_bad_input("is " + std::to_string(value) + ", wanted " + wanted, file.place(name, row));
    }
  }
}

void read_columns(const Hdf5Reader& file, EmbeddingSet& set) {
  set.id = file.read<std::int64_t>("/id", {kAnySize});
  set.num_rows = size_of(set.id);
  if (set.num_rows == 0) throw_bad_input("holds no rows, wanted at least one", file.place("/id"));
  require_range(file, "/id", set.id, 0, std::numeric_limits<std::int64_t>::max(), "a number >= 0");
  const auto split = file.read<std::uint8_t>("/split", {set.num_rows});
  require_range(file, "/split", split, 0, 3, "0 (library), 1 (train), 2 (validation) or 3 (test)");
  for (const std::uint8_t value : split) set.split.push_back(static_cast<Split>(value));
  set.task = file.read<std::int32_t>("/task", {set.num_rows});
  const std::int64_t last = set.num_tasks() - 1;
  require_range(file, "/task", set.task, 0, last, "a row of /tasks, 0 to " + std::to_string(last));
}

bool has_library(const EmbeddingSet& set) {
  return std::find(set.split.begin(), set.split.end(), Split::library) != set.split.end();
}

void read_pictures(const Hdf5Reader& file, EmbeddingSet& set) {
  const bool has_pixels = file.has("/pixels");
  if (file.has("/image_uri")) {
    if (has_pixels) throw_bad_input("is there beside /image_uri, wanted one of them", file.place("/pixels"));
    set.image_uri = file.read_strings("/image_uri", set.num_rows);
  } else if (has_pixels) {
    const Shape shape = file.shape("/pixels");
    set.pixels = file.read<std::uint8_t>("/pixels", {set.num_rows, 3, kAnySize, kAnySize});
    set.pixel_height = shape[2];
    set.pixel_width = shape[3];
    if (set.pixels.empty()) throw_bad_input("holds pictures without pixels", file.place("/pixels"));
  }
}

// All but the matrices, of which only the shapes are looked at.
EmbeddingSet read_part(const fs::path& path, MatrixPart& part) {
  const Hdf5Reader file(path);
  file.require_format(kFormat, kVersion);
  EmbeddingSet set;
  set.tasks = read_tasks(file, set.text_width);
  read_columns(file, set);
  const std::int64_t rows = set.num_rows;
  set.image_width = width_of(file, "/image", rows, 0);
  width_of(file, "/query", rows, set.text_width);
  set.text_query = file.read_strings("/text/query", rows);
  // Only library rows need results.
  part.has_results = has_library(set) || file.has("/query_result");
  if (part.has_results) width_of(file, "/query_result", rows, set.text_width);
  if (has_library(set) || file.has("/text/result")) set.text_result = file.read_strings("/text/result", rows);
  read_pictures(file, set);
  part.path = path;
  part.num_rows = rows;
  return set;
}

std::vector<fs::path> parts_of(const fs::path& path) {
  if (!fs::is_directory(path)) return {path};
  std::vector<fs::path> parts;
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("part-") && entry.path().extension() == ".h5") parts.push_back(entry.path());
  }
  if (parts.empty()) throw_bad_input("is a folder without part-*.h5, wanted a file or parts", path.string());
  std::sort(parts.begin(), parts.end());
  return parts;
}

void require_same_kind(const EmbeddingSet& first, const fs::path& first_path, const EmbeddingSet& part,
                       const fs::path& path) {
  const auto require = [&](bool same, const char* name) {
    if (!same)
      throw_bad_input("differs from that of " + first_path.string(), path.string() + " " + name,
                      "all parts of a folder must agree");
  };
  require(part.tasks.name == first.tasks.name, "/tasks/name");
  require(part.tasks.instruction == first.tasks.instruction, "/tasks/instruction");
  require(part.tasks.short_instruction == first.tasks.short_instruction, "/tasks/short_instruction");
  require(part.text_width == first.text_width && part.tasks.embedding == first.tasks.embedding, "/tasks/embedding");
  require(part.tasks.question == first.tasks.question, "/tasks/question");
  require(part.image_width == first.image_width, "/image width");
  require(part.image_uri.empty() == first.image_uri.empty(), "/image_uri");
  require(part.pixel_height == first.pixel_height && part.pixel_width == first.pixel_width, "/pixels size");
}

template <class T>
void append(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

// A column that parts without library rows may leave out.
template <class T>
void append_optional(std::vector<T>& to, std::int64_t to_size, std::vector<T>&& from, std::int64_t from_size) {
  if (to.empty() && from.empty()) return;
  to.resize(to_index(to_size));
  append(to, std::move(from));
  to.resize(to_index(to_size + from_size));
}

void append_part(EmbeddingSet& set, EmbeddingSet&& part) {
  append_optional(set.text_result, set.num_rows, std::move(part.text_result), part.num_rows);
  append(set.id, std::move(part.id));
  append(set.split, std::move(part.split));
  append(set.task, std::move(part.task));
  append(set.text_query, std::move(part.text_query));
  append(set.image_uri, std::move(part.image_uri));
  append(set.pixels, std::move(part.pixels));
  set.num_rows += part.num_rows;
}

void write_texts(Hdf5Writer& file, const EmbeddingSet& set) {
  file.add_group("/text");
  file.write_strings("/text/query", set.text_query);
  if (!set.text_result.empty()) file.write_strings("/text/result", set.text_result);
  if (!set.image_uri.empty()) file.write_strings("/image_uri", set.image_uri);
}

void write_tasks(Hdf5Writer& file, const TaskTable& tasks, std::int64_t text_width) {
  const std::int64_t count = size_of(tasks.name);
  file.add_group("/tasks");
  file.write_strings("/tasks/name", tasks.name);
  file.write_strings("/tasks/instruction", tasks.instruction);
  file.write_strings("/tasks/short_instruction", tasks.short_instruction);
  file.write<float>("/tasks/embedding", tasks.embedding, {count, text_width});
  if (!tasks.question.empty()) file.write<std::int32_t>("/tasks/question", tasks.question, {count});
}

}  // namespace

EmbeddingSet read_embedding_set(const fs::path& path, const EmbeddingShare& share) {
  std::vector<MatrixPart> parts;
  EmbeddingSet set;
  for (const fs::path& part_path : parts_of(path)) {
    MatrixPart matrices;
    EmbeddingSet part = read_part(part_path, matrices);
    matrices.first_row = set.num_rows;
    parts.push_back(matrices);
    if (parts.size() == 1) {
      set = std::move(part);
    } else {
      require_same_kind(set, parts.front().path, part, part_path);
      append_part(set, std::move(part));
    }
  }
  require_unique_ids(set.id, [&](std::int64_t row) {
    const auto after = std::find_if(parts.begin(), parts.end(), [&](const auto& p) { return p.first_row > row; });
    const MatrixPart& part = *(after - 1);
    return part.path.string() + " /id row " + std::to_string(row - part.first_row);
  });
  read_matrices(parts, share, set);
  require_consistent(set);
  normalise_rows(set.tasks.embedding, set.text_width);
  return set;
}

void write_embedding_set(const fs::path& path, const EmbeddingSet& set) {
  require_consistent(set);
  const std::int64_t rows = set.num_rows;
  std::vector<std::uint8_t> split;
  for (const Split value : set.split) split.push_back(static_cast<std::uint8_t>(value));
  Hdf5Writer file(path, kFormat, kVersion);
  write_tasks(file, set.tasks, set.text_width);
  file.write<std::int64_t>("/id", set.id, {rows});
  file.write<std::uint8_t>("/split", split, {rows});
  file.write<std::int32_t>("/task", set.task, {rows});
  file.write<float>("/image", set.image, {rows, set.image_width});
  file.write<float>("/query", set.query, {rows, set.text_width});
  if (!set.query_result.empty()) file.write<float>("/query_result", set.query_result, {rows, set.text_width});
  write_texts(file, set);
  if (!set.pixels.empty())
    file.write<std::uint8_t>("/pixels", set.pixels, {rows, 3, set.pixel_height, set.pixel_width});
  file.commit();
}

}  // namespace saber
