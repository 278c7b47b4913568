#include "data/training_scenes.h"

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/narrow.h"
#include "data/hdf5_file.h"

namespace saber {
namespace {

using Words = std::set<std::string>;

std::string place_of_row(const std::string& file, const char* name, std::int64_t row) {
  return file + " " + name + " row " + std::to_string(row);
}

std::vector<std::int64_t> training_rows(const EmbeddingSet& set) {
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    const Split split = set.split[to_index(row)];
    if (split == Split::library || split == Split::train) rows.push_back(row);
  }
  return rows;
}

// The distinct answers of each task.
std::vector<Words> answers_of_tasks(const EmbeddingSet& set, const std::vector<std::int64_t>& rows,
                                    const std::string& file) {
  std::vector<Words> answers(to_index(set.num_tasks()));
  for (const std::int64_t row : rows) {
    const std::string& answer = set.text_result[to_index(row)];
    if (answer.empty() || answer.find_first_of(" \t\r\n") != std::string::npos) {
      throw_bad_input("holds '" + answer + "', wanted one word", place_of_row(file, "/text/result", row),
                      "the tiny LVLM answers in one word of a closed vocabulary");
    }
    answers[to_index(set.task[to_index(row)])].insert(answer);
  }
  for (std::int64_t task = 0; task < set.num_tasks(); ++task) {
    const std::int64_t found = size_of(answers[to_index(task)]);
    if (found >= 2) continue;
    throw_bad_input("'" + set.tasks.name[to_index(task)] + "' has " + std::to_string(found) + " different answer" +
                        (found == 1 ? "" : "s") + " in library and train rows, wanted at least 2",
                    place_of_row(file, "/tasks/name", task));
  }
  return answers;
}

std::int32_t number_of(const std::vector<std::string>& sorted, const std::string& word) {
  return narrow<std::int32_t>(std::lower_bound(sorted.begin(), sorted.end(), word) - sorted.begin());
}

// Takes rows into the scenes, one after the other.
class SceneMaker {
 public:
  SceneMaker(const EmbeddingSet& set, const std::string& file, SceneSet& scenes)
      : set_(set), file_(file), scenes_(scenes) {}

  // value: of the row's answer among those of its task.
  void add(std::int64_t row, std::int32_t value) {
    const std::int64_t task = set_.task[to_index(row)], scene = scene_of(row);
    const auto [first, is_new] = first_row_.emplace(std::pair(scene, task), row);
    if (is_new) {
      scenes_.labels[to_index(scene * set_.num_tasks() + task)] = value;
    } else if (answer(first->second) != answer(row)) {
      throw_bad_input("holds '" + answer(row) + "', but row " + std::to_string(first->second) +
                          ", of the same task and picture, holds '" + answer(first->second) + "'",
                      place_of_row(file_, "/text/result", row),
                      "the tiny LVLM reads no wording: there is one answer to a task about a picture");
    }
  }

 private:
  const std::string& answer(std::int64_t row) const { return set_.text_result[to_index(row)]; }

  // Appends the row's picture unless it is there.
  std::int64_t scene_of(std::int64_t row) {
    const std::span<const std::uint8_t> pixels = set_.pixels_of(row);
    const std::string_view picture(reinterpret_cast<const char*>(pixels.data()), pixels.size());
    const auto [found, is_new] = scene_of_.emplace(picture, scenes_.num_scenes);
    if (is_new) {
      ++scenes_.num_scenes;
      scenes_.pixels.insert(scenes_.pixels.end(), pixels.begin(), pixels.end());
      scenes_.labels.resize(scenes_.labels.size() + to_index(set_.num_tasks()), -1);
    }
    return found->second;
  }

  const EmbeddingSet& set_;
  const std::string& file_;
  SceneSet& scenes_;
  std::map<std::string_view, std::int64_t> scene_of_;
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> first_row_;  // that gave a scene its label of a task
};

}  // namespace

SceneSet scenes_of(const EmbeddingSet& set, const std::string& file) {
  if (set.pixels.empty()) {
    throw_bad_input("is not there, wanted the pictures of all rows", file + " /pixels",
                    "the tiny LVLM looks at the pictures themselves");
  }
  if (set.text_result.empty()) throw_bad_input("is not there, wanted an answer in every row", file + " /text/result");
  const std::vector<std::int64_t> rows = training_rows(set);
  const std::vector<Words> answers = answers_of_tasks(set, rows, file);
  Words all;
  for (const Words& words : answers) all.insert(words.begin(), words.end());

  SceneSet scenes;
  scenes.height = set.pixel_height;
  scenes.width = set.pixel_width;
  scenes.shows_query_again = false;
  scenes.vocabulary.assign(all.begin(), all.end());
  scenes.label_names = set.tasks.name;
  std::vector<std::vector<std::string>> values;
  for (const Words& words : answers) {
    values.emplace_back(words.begin(), words.end());
    scenes.label_sizes.push_back(narrow<std::int32_t>(size_of(words)));
    for (const std::string& word : words) scenes.plain_words.push_back(number_of(scenes.vocabulary, word));
  }
  SceneMaker maker(set, file, scenes);
  for (const std::int64_t row : rows) {
    maker.add(row, number_of(values[to_index(set.task[to_index(row)])], set.text_result[to_index(row)]));
  }
  return scenes;
}

SceneSet read_training_scenes(const std::filesystem::path& path) {
  const bool own =
      std::filesystem::is_directory(path) || Hdf5Reader(path).text_attribute("format") == "saber-embeddings";
  return own ? scenes_of(read_embedding_set(path), path.string()) : read_scene_set(path);
}

}  // namespace saber
