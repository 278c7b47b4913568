// Binary fusion of a picture's and a text's embedding (docs/model.md, eq. 4 and 5).
#pragma once

#include <torch/torch.h>

#include "trainer/model/model_settings.h"

namespace saber {

class FusionImpl : public torch::nn::Module {
 public:
  FusionImpl(const ModelSettings& settings, const EmbeddingWidths& widths);

  // image [.., D_I], text [.., D_T], rows L2-normalised -> e [.., d] = 2 (f*v + (1-f)*u).
  torch::Tensor forward(const torch::Tensor& image, const torch::Tensor& text);

 private:
  torch::nn::Linear image_projection_{nullptr}, text_projection_{nullptr};
  torch::nn::Linear gate_{nullptr};  // absent with gate: none
};
TORCH_MODULE(Fusion);

}  // namespace saber
