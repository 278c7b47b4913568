// SabER: reads a query and a prefix of demonstrations, and gives the vector that the next demonstration is chosen with.
// docs/model.md numbers the equations.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "trainer/model/block.h"
#include "trainer/model/fusion.h"
#include "trainer/model/task_guider.h"
#include "trainer/model/task_mask.h"

namespace saber {

// Frozen embeddings of a batch of queries, rows L2-normalised. The queries' results are not among them.
struct QueryBatch {
  torch::Tensor image;        // [batch, D_I]
  torch::Tensor query;        // [batch, D_T], E_T(Q)
  torch::Tensor instruction;  // [batch, D_T], E_T(Inst')
};

// What the model makes of a batch of queries before it sees a demonstration: the same for every prefix.
struct QueryState {
  torch::Tensor fused;   // e of the query, [batch, d]
  torch::Tensor guided;  // g0, [batch, d]

  // The states of the given queries, int64 [n], which may repeat.
  QueryState select(const torch::Tensor& queries) const {
    return {fused.index_select(0, queries), guided.index_select(0, queries)};
  }
};

class SaberModelImpl : public torch::nn::Module {
 public:
  // All parameters are set from (seed, name of the parameter), see initialise.h.
  SaberModelImpl(const ModelSettings& settings, const EmbeddingWidths& widths, std::uint64_t seed);

  // e of library items: image [.., D_I], query_result [.., D_T] -> [.., d].
  torch::Tensor fuse(const torch::Tensor& image, const torch::Tensor& query_result) {
    return fusion_(image, query_result);
  }

  QueryState read(const QueryBatch& queries);
  // z [batch, k + 1, d]: logit(x | query, first i of the k shots) = <z[:, i], e_x> for i = 0..k, the scale s included.
  // shots: e of the prefix, [batch, k, d]; k may be 0.
  torch::Tensor choose(const QueryState& queries, const torch::Tensor& shots);
  torch::Tensor forward(const QueryBatch& queries, const torch::Tensor& shots) { return choose(read(queries), shots); }

  // e of [EOS], [d]; a key beside the library in `imitate` only.
  const torch::Tensor& end_key() const { return end_key_; }
  const ModelSettings& settings() const { return settings_; }

 private:
  torch::Tensor query_token(const torch::Tensor& inputs, const torch::Tensor& fused_query);
  torch::Tensor embed_sequence(const torch::Tensor& query_token, const torch::Tensor& shots);

  ModelSettings settings_;
  bool plain_;
  double width_root_;
  Fusion fusion_{nullptr};
  TaskGuider guider_{nullptr};          // saber; with plain: the MLP of the query's token
  torch::nn::Linear task_in_{nullptr};  // W_q of the [TASK] token
  std::vector<TaskMask> masks_;
  std::vector<GuiderUpdate> updates_;
  std::vector<Block> blocks_;
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear head_{nullptr};
  torch::Tensor begin_, task_, end_key_, position_, log_scale_;
};
TORCH_MODULE(SaberModel);

}  // namespace saber
