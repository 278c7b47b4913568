// Training episodes of the tiny LVLM: demonstrations that bind fresh question tokens and names to attributes.
#pragma once

#include <cstdint>
#include <vector>

#include "core/random.h"
#include "data/demo/scene_set.h"

namespace saber {

// One question about one scene as the LVLM reads it.
struct EpisodeItem {
  std::int64_t scene = 0;
  std::int64_t question = 0;  // question token
  std::int64_t word = 0;      // the right answer
};

class EpisodeMaker {
 public:
  // Every attribute has a scene with that label, and two where the query is not to be shown again.
  EpisodeMaker(const SceneSet& scenes, std::int64_t shots, std::int64_t num_questions);

  // `shots` demonstrations, then the query. Every attribute gets a fresh question token and a naming: the plain words
  // with probability 0.4, else a random word per value. Demonstrations are about a foreign attribute at a rate of 0,
  // 0.25 or 0.6; in 60 % of the episodes 1 or 2 of them show the query's attribute and value. Only scenes that have the
  // label are shown, each as likely; where the query is not to be shown again the others are.
  std::vector<EpisodeItem> make(RandomStream stream) const;

 private:
  std::int64_t value(std::int64_t scene, std::int64_t attribute) const;

  const SceneSet& scenes_;
  std::int64_t shots_;
  std::int64_t num_questions_;
  std::int64_t num_attributes_;
  // In ascending order.
  std::vector<std::vector<std::int64_t>> scenes_of_;                 // [attribute], those with the label
  std::vector<std::vector<std::vector<std::int64_t>>> scenes_with_;  // [attribute][value]
};

}  // namespace saber
