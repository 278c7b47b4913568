// The tiny LVLM's training scenes out of a data set of one's own (docs/own-data.md).
#pragma once

#include <filesystem>
#include <string>

#include "data/demo/scene_set.h"
#include "data/embedding_set.h"

namespace saber {

// One attribute per task, whose values are the task's distinct answers in sorted order; one scene per distinct picture,
// in order of appearance, with the labels that its rows give; the vocabulary is all answers, sorted. Only library and
// train rows are looked at. Throws bad_input, whose place begins with `file`: no pixels, no answers, an answer that is
// not one word, two answers to one task about one picture, a task with fewer than two answers.
SceneSet scenes_of(const EmbeddingSet& set, const std::string& file);

// Reads a file of scenes, or a data set (a file, or a folder of parts) and takes the scenes out of it. The file's
// attribute `format` says which it is.
SceneSet read_training_scenes(const std::filesystem::path& path);

}  // namespace saber
