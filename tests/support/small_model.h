// A SabER that is small enough for hand computations.
#pragma once

#include "trainer/model/saber_model.h"

namespace saber::test {

// Width 8, two heads, two blocks, seed 1.
inline SaberModel small_model(const EmbeddingWidths& widths, torch::ScalarType type = torch::kFloat32) {
  ModelSettings settings;
  settings.width = 8;
  settings.heads = 2;
  SaberModel model(settings, widths, 1);
  model->to(type);
  return model;
}

}  // namespace saber::test
