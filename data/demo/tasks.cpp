#include "data/demo/tasks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "core/narrow.h"

namespace saber::demo {
namespace {

// Enough to fill the vocabulary whatever the number of groups.
constexpr std::array<const char*, 45> kCoinedWords = {
    "blicket", "dax",   "wug",    "toma",   "fep",    "zorb",   "glim",    "snarf", "plonk",   "quib",  "vost", "mirp",
    "tulver",  "kreb",  "yando",  "sprell", "jurt",   "omble",  "frand",   "chiv",  "bazzle",  "lork",  "nepp", "skail",
    "dwimmer", "hesk",  "pilfo",  "grotch", "veem",   "tarb",   "ruzz",    "elsop", "murv",    "clobe", "wesk", "jalto",
    "thrunk",  "oxley", "binnor", "faswe",  "keddle", "squomp", "drindle", "phlon", "ganterby"};

const std::vector<std::string>& count_words() {
  static const std::vector<std::string> words = {"one", "two", "three", "four"};
  return words;
}

const std::vector<std::string>& turn_words() {
  static const std::vector<std::string> words = {"upright", "left", "inverted", "right"};
  return words;
}

struct Attribute {
  const char* name;
  const char* aspect;  // completes an instruction; the five share no words, so that their embeddings are apart
  std::array<const char*, kNumWordings> questions;
};

constexpr std::array<Attribute, kNumAttributes> kAttributes = {
    {{"kind",
      "what kind of thing it is",
      {"What kind of thing is this?", "Which sort of object does the picture show?",
       "To what category does it belong?"}},
     {"colour",
      "its own colour",
      {"What colour is the thing?", "Which colour does the object mostly have?", "In what colour is it painted?"}},
     {"background",
      "the surrounding background",
      {"What colour is the background?", "Which colour lies behind the object?", "On what colour does it stand?"}},
     {"count",
      "how many copies are shown",
      {"How many are there?", "What is the number of copies?", "Count the things in the picture."}},
     {"turn",
      "which way up this stands",
      {"Which way up is it?", "How is the thing turned?", "In what direction does its top point?"}}}};

TaskDescription describe_task(int attribute, bool coined) {
  const Attribute& asked = kAttributes[to_index(attribute)];
  TaskDescription task;
  task.attribute = attribute;
  task.coined = coined;
  task.name = std::string(asked.name) + (coined ? "/coined" : "/plain");
  // The two openings share no word, so that the conventions of one attribute are far apart for the text encoder too.
  task.short_instruction = (coined ? "Reply with invented, coined names: " : "Answer in plain, usual words: ") +
                           std::string(asked.aspect) + ".";
  task.instruction = "Look at the picture and tell " + std::string(asked.aspect) + ". " +
                     (coined ? "Reply with one coined word: these names are invented, and the examples show which "
                               "name belongs to what."
                             : "Answer with one plain word, the usual one.");
  return task;
}

// "Smileys & Emotion" becomes "smileys".
std::string first_word(const std::string& group) {
  std::string word;
  for (const char c : group) {
    if (c >= 'A' && c <= 'Z') {
      word += static_cast<char>(c - 'A' + 'a');
    } else if (c >= 'a' && c <= 'z') {
      word += c;
    } else {
      break;
    }
  }
  return word;
}

std::vector<std::string> make_vocabulary(const EmojiFont& font) {
  std::vector<std::string> words;
  const auto append = [&](const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
  };
  for (const std::string& group : font.groups) words.push_back(first_word(group));
  append(colour_names());
  append(count_words());
  append(turn_words());
  for (const char* word : kCoinedWords) {
    if (size_of(words) < kVocabularySize) words.emplace_back(word);
  }
  const std::set<std::string> different(words.begin(), words.end());
  if (size_of(words) != kVocabularySize || size_of(different) != kVocabularySize || different.contains("")) {
    throw_bad_input("found " + std::to_string(size_of(different)) + " different words for " +
                        std::to_string(size_of(font.groups)) + " groups of emoji, wanted exactly " +
                        std::to_string(kVocabularySize),
                    "groups of emoji-test.txt", "the first words of the groups' names must be all different");
  }
  return words;
}

std::vector<int> rows_of_words(const std::vector<std::string>& vocabulary, const std::vector<std::string>& words) {
  std::vector<int> rows;
  for (const std::string& word : words) {
    const auto found = std::find(vocabulary.begin(), vocabulary.end(), word);
    ensure(found != vocabulary.end(), "every plain word is in the vocabulary");
    rows.push_back(static_cast<int>(found - vocabulary.begin()));
  }
  return rows;
}

bool share_a_word(const std::vector<int>& a, const std::vector<int>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) return true;
  }
  return false;
}

// A value that kept its plain word would have one answer under both conventions: such namings are drawn again.
std::vector<int> coined_naming(const std::vector<int>& plain, std::uint64_t seed, int attribute) {
  RandomStream stream(seed, "coined", {attribute});
  std::vector<int> naming = plain;
  while (share_a_word(naming, plain)) naming = random_naming(narrow<int>(size_of(plain)), stream);
  return naming;
}

bool in_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80;
}

// Lower-case words; letters beyond ASCII are kept as they are.
std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  bool inside = false;
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (in_word(c) && !inside) words.emplace_back();
    inside = in_word(c);
    if (inside) words.back() += c;
  }
  return words;
}

}  // namespace

const std::string& Language::answer(int task, int value) const {
  const TaskDescription& asked = tasks.at(to_index(task));
  const Naming& naming = asked.coined ? coined : plain;
  return vocabulary.at(to_index(naming.at(to_index(asked.attribute)).at(to_index(value))));
}

Language make_language(const EmojiFont& font, std::uint64_t seed) {
  Language language;
  language.vocabulary = make_vocabulary(font);
  std::vector<std::string> kinds;
  for (const std::string& group : font.groups) kinds.push_back(first_word(group));
  for (const auto& words : {kinds, colour_names(), background_names(), count_words(), turn_words()}) {
    language.plain.push_back(rows_of_words(language.vocabulary, words));
  }
  for (int attribute = 0; attribute < kNumAttributes; ++attribute) {
    const Attribute& asked = kAttributes[to_index(attribute)];
    language.coined.push_back(coined_naming(language.plain[to_index(attribute)], seed, attribute));
    language.questions.emplace_back(asked.questions.begin(), asked.questions.end());
    language.tasks.push_back(describe_task(attribute, false));
    language.tasks.push_back(describe_task(attribute, true));
  }
  return language;
}

std::vector<int> random_naming(int num_values, RandomStream& stream) {
  std::vector<std::int64_t> words(kVocabularySize);
  std::iota(words.begin(), words.end(), std::int64_t{0});
  std::vector<int> naming;
  for (const std::int64_t word : stream.sample(std::move(words), num_values)) naming.push_back(narrow<int>(word));
  return naming;
}

std::vector<float> embed_text(const std::string& text, std::int64_t width, std::uint64_t seed) {
  std::vector<double> sum(to_index(width), 0.0);
  for (const std::string& word : words_of(text)) {
    RandomStream stream(seed, "word", {static_cast<std::int64_t>(hash64(word))});
    for (double& x : sum) x += stream.normal();
  }
  double square = 0.0;
  for (const double x : sum) square += x * x;
  if (square == 0.0) throw_bad_input("found no word to embed", "text '" + text + "'");
  std::vector<float> embedding;
  embedding.reserve(sum.size());
  for (const double x : sum) embedding.push_back(static_cast<float>(x / std::sqrt(square)));
  return embedding;
}

}  // namespace saber::demo
