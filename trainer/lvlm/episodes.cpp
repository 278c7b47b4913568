#include "trainer/lvlm/episodes.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

constexpr double kPlainRate = 0.4;
constexpr double kHelpfulRate = 0.6;
constexpr std::array<double, 3> kForeignRates = {0.0, 0.25, 0.6};

std::vector<std::int64_t> numbers_below(std::int64_t count) {
  std::vector<std::int64_t> out(to_index(count));
  std::iota(out.begin(), out.end(), std::int64_t{0});
  return out;
}

// A random one of `scenes`, which ascend, but not `hidden`.
std::int64_t pick(const std::vector<std::int64_t>& scenes, std::int64_t hidden, RandomStream& stream) {
  const std::int64_t position = std::lower_bound(scenes.begin(), scenes.end(), hidden) - scenes.begin();
  const bool holds = position < size_of(scenes) && scenes[to_index(position)] == hidden;
  const std::int64_t i = stream.below(size_of(scenes) - (holds ? 1 : 0));
  return scenes[to_index(holds && i >= position ? i + 1 : i)];
}

}  // namespace

EpisodeMaker::EpisodeMaker(const SceneSet& scenes, std::int64_t shots, std::int64_t num_questions)
    : scenes_(scenes), shots_(shots), num_questions_(num_questions), num_attributes_(size_of(scenes.label_sizes)) {
  for (std::int64_t a = 0; a < num_attributes_; ++a) {
    scenes_with_.emplace_back(to_index(scenes.label_sizes[to_index(a)]));
    scenes_of_.emplace_back();
    for (std::int64_t s = 0; s < scenes.num_scenes; ++s) {
      if (value(s, a) < 0) continue;
      scenes_of_.back().push_back(s);
      scenes_with_.back()[to_index(value(s, a))].push_back(s);
    }
    ensure(size_of(scenes_of_.back()) > (scenes.shows_query_again ? 0 : 1), "an attribute has scenes to show");
  }
}

std::int64_t EpisodeMaker::value(std::int64_t scene, std::int64_t attribute) const {
  return scenes_.labels[to_index(scene * num_attributes_ + attribute)];
}

std::vector<EpisodeItem> EpisodeMaker::make(RandomStream stream) const {
  const std::vector<std::int64_t> tokens = stream.sample(numbers_below(num_questions_), num_attributes_);
  std::vector<std::vector<std::int64_t>> names;
  std::int64_t first_plain = 0;
  for (std::int64_t a = 0; a < num_attributes_; ++a) {
    const std::int64_t values = scenes_.label_sizes[to_index(a)];
    if (stream.uniform() < kPlainRate) {
      const auto begin = scenes_.plain_words.begin() + first_plain;
      names.emplace_back(begin, begin + values);
    } else {
      names.push_back(stream.sample(numbers_below(size_of(scenes_.vocabulary)), values));
    }
    first_plain += values;
  }
  const auto item = [&](std::int64_t scene, std::int64_t attribute) {
    return EpisodeItem{scene, tokens[to_index(attribute)],
                       names[to_index(attribute)][to_index(value(scene, attribute))]};
  };

  const std::int64_t asked = stream.below(num_attributes_);
  const std::int64_t query_scene = pick(scenes_of_[to_index(asked)], -1, stream);
  const std::int64_t hidden = scenes_.shows_query_again ? -1 : query_scene;
  const double foreign_rate = kForeignRates[to_index(stream.below(3))];
  std::vector<EpisodeItem> episode;
  for (std::int64_t k = 0; k < shots_; ++k) {
    std::int64_t attribute = asked;
    if (stream.uniform() < foreign_rate && num_attributes_ > 1) {
      attribute = (asked + 1 + stream.below(num_attributes_ - 1)) % num_attributes_;
    }
    episode.push_back(item(pick(scenes_of_[to_index(attribute)], hidden, stream), attribute));
  }
  const auto& same = scenes_with_[to_index(asked)][to_index(value(query_scene, asked))];
  if (stream.uniform() < kHelpfulRate && (size_of(same) > 1 || hidden < 0)) {
    for (const std::int64_t slot :
         stream.sample(numbers_below(shots_), std::min<std::int64_t>(shots_, 1 + stream.below(2)))) {
      episode[to_index(slot)] = item(pick(same, hidden, stream), asked);
    }
  }
  episode.push_back(item(query_scene, asked));
  return episode;
}

}  // namespace saber
