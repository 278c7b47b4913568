#include "data/demo/scene_set.h"

#include <numeric>

#include "core/error.h"
#include "core/narrow.h"
#include "data/hdf5_file.h"

namespace saber {
namespace {

constexpr const char* kFormat = "saber-scenes";
constexpr std::int64_t kVersion = 1;

std::int64_t num_values(const SceneSet& set) {
  return std::accumulate(set.label_sizes.begin(), set.label_sizes.end(), std::int64_t{0});
}

void require_below(const Hdf5Reader& file, const std::string& name, std::int64_t row, std::int32_t value,
                   std::int64_t limit) {
  if (value >= 0 && value < limit) return;
  throw_bad_input("holds " + std::to_string(value) + ", wanted 0 to " + std::to_string(limit - 1),
                  file.place(name, row));
}

void check_values(const Hdf5Reader& file, const SceneSet& set) {
  const std::int64_t num_labels = size_of(set.label_sizes);
  for (std::int64_t i = 0; i < size_of(set.labels); ++i) {
    require_below(file, "/labels", i / num_labels, set.labels[to_index(i)], set.label_sizes[to_index(i % num_labels)]);
  }
  for (std::int64_t i = 0; i < size_of(set.plain_words); ++i) {
    require_below(file, "/plain_words", i, set.plain_words[to_index(i)], size_of(set.vocabulary));
  }
}

}  // namespace

void write_scene_set(const std::filesystem::path& path, const SceneSet& set) {
  const std::int64_t num_labels = size_of(set.label_sizes);
  ensure(size_of(set.labels) == set.num_scenes * num_labels, "a scene has a value of every label");
  ensure(size_of(set.plain_words) == num_values(set), "a label's value has a word");
  ensure(size_of(set.label_names) == num_labels, "a label has a name");
  Hdf5Writer file(path, kFormat, kVersion);
  file.write<std::uint8_t>("/pixels", set.pixels, {set.num_scenes, 3, set.height, set.width});
  file.write<std::int32_t>("/labels", set.labels, {set.num_scenes, num_labels});
  file.write<std::int32_t>("/label_sizes", set.label_sizes, {num_labels});
  file.write_strings("/label_names", set.label_names);
  file.write_strings("/vocabulary", set.vocabulary);
  file.write<std::int32_t>("/plain_words", set.plain_words, {size_of(set.plain_words)});
  file.commit();
}

SceneSet read_scene_set(const std::filesystem::path& path) {
  const Hdf5Reader file(path);
  file.require_format(kFormat, kVersion);
  SceneSet set;
  set.pixels = file.read<std::uint8_t>("/pixels", {kAnySize, 3, kAnySize, kAnySize});
  if (set.pixels.empty()) throw_bad_input("holds no pixels, wanted at least one scene", file.place("/pixels"));
  const Shape shape = file.shape("/pixels");
  set.num_scenes = shape[0];
  set.height = shape[2];
  set.width = shape[3];
  set.label_sizes = file.read<std::int32_t>("/label_sizes", {kAnySize});
  for (std::int64_t i = 0; i < size_of(set.label_sizes); ++i) {
    const std::int32_t size = set.label_sizes[to_index(i)];
    if (size < 1) throw_bad_input("is " + std::to_string(size) + ", wanted >= 1", file.place("/label_sizes", i));
  }
  set.label_names = file.read_strings("/label_names", size_of(set.label_sizes));
  set.labels = file.read<std::int32_t>("/labels", {set.num_scenes, size_of(set.label_sizes)});
  set.vocabulary = file.read_strings("/vocabulary", kAnySize);
  set.plain_words = file.read<std::int32_t>("/plain_words", {num_values(set)});
  check_values(file, set);
  return set;
}

}  // namespace saber
