// Trains the tiny LVLM from scenes with labels: first the vision tower with one linear head per attribute, then, with
// the tower frozen, the decoder on episodes that can only be answered from their demonstrations (docs/lvlm.md).
#pragma once

#include <cstdint>
#include <string>

#include "core/config_schema.h"
#include "data/demo/scene_set.h"
#include "trainer/lvlm/tiny_lvlm.h"

namespace saber {

struct LvlmTrainSettings {
  std::string scenes;            // lvlm.scenes
  std::string output;            // lvlm.output
  std::int64_t seed = 0;         // lvlm.seed
  std::int64_t tower_steps = 0;  // lvlm.tower_steps
  std::int64_t steps = 0;        // lvlm.steps
  std::int64_t shots = 0;        // lvlm.shots
  void declare(Schema& schema);
};

// The result is on `device`.
TinyLvlm train_tiny_lvlm(const LvlmTrainSettings& settings, const SceneSet& scenes, torch::Device device = torch::kCPU);

}  // namespace saber
