// Emoji-VQA's ten tasks: five attributes x two naming conventions (plain words, coined words), and the LVLM's
// vocabulary.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/random.h"
#include "data/demo/scenes.h"

namespace saber::demo {

inline constexpr int kVocabularySize = 64;
inline constexpr int kNumTasks = 2 * kNumAttributes;  // task = attribute * 2 + convention
inline constexpr int kNumWordings = 3;

// naming[attribute][value] = word of the vocabulary.
using Naming = std::vector<std::vector<int>>;

struct TaskDescription {
  std::string name;               // "colour/plain", "colour/coined"
  std::string instruction;        // shown to a reader or an LVLM; tells attribute and convention
  std::string short_instruction;  // one sentence
  int attribute = 0;
  bool coined = false;
};

struct Language {
  std::vector<std::string> vocabulary;  // [64] single lower-case words, all different
  Naming plain;                         // fixed: the word that everybody uses
  Naming coined;                        // fixed random assignment by (seed, "coined"), one to one within an attribute
  std::vector<TaskDescription> tasks;   // [10]
  std::vector<std::vector<std::string>> questions;  // [attribute][wording]: the same for both conventions

  const std::string& answer(int task, int value) const;
};

// Words: group names become one short word each ("smileys", "people", ...), colours, counts ("one".."four"), turns
// ("upright", "left", "inverted", "right"); the rest of the 64 are coined words ("blicket", ...).
Language make_language(const EmojiFont& font, std::uint64_t seed);

// A naming that gives every value of an attribute its own random word of the 64.
std::vector<int> random_naming(int num_values, RandomStream& stream);

// Stand-in for a text encoder: the normalised sum of one fixed random vector per lower-case word, [width].
std::vector<float> embed_text(const std::string& text, std::int64_t width, std::uint64_t seed);

}  // namespace saber::demo
