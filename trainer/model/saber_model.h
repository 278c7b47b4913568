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

// What the model makes of a batch of queries before it sees a demonstration: the same for every prefix.
struct QueryState {
  torch::Tensor fused;   // e of the query, [batch, d]
  torch::Tensor guided;  // g0, [batch, d]; undefined without a guider
  torch::Tensor token;   // what its token is beside e, [batch, d]; undefined with [TASK]

  // The states of the given queries, int64 [n], which may repeat.
  QueryState select(const torch::Tensor& queries) const {
    const auto of = [&](const torch::Tensor& all) { return all.defined() ? all.index_select(0, queries) : all; };
    return {of(fused), of(guided), of(token)};
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

  // The same of an id_table, by the items' numbers, int64 [n]: it reads nothing of them.
  torch::Tensor items(const torch::Tensor& numbers) { return item_.index_select(0, numbers.to(item_.device())); }
  bool id_table() const { return id_table_; }

  QueryState read(const QueryBatch& queries);
  // z [batch, k + 1, d]: logit(x | query, first i of the k shots) = <z[:, i], e_x> for i = 0..k, the scale s included.
  // shots: e of the prefix, [batch, k, d]; k may be 0.
  torch::Tensor choose(const QueryState& queries, const torch::Tensor& shots);
  torch::Tensor forward(const QueryBatch& queries, const torch::Tensor& shots) { return choose(read(queries), shots); }

  // What `samples` samples add to the sum of their losses: model.guider_penalty |W_TG|^2 each, minus
  // model.mask_sparsity times the divergence of each one's mask from a uniform one (docs/model.md, Penalties), of the
  // last choose(), which read these samples and no others. Undefined where both are 0.
  torch::Tensor penalty_sum(std::int64_t samples) const;

  // e of [EOS], [d]; a key beside the library in `imitate` only.
  const torch::Tensor& end_key() const { return end_key_; }
  const ModelSettings& settings() const { return settings_; }

 private:
  torch::Tensor query_token(const QueryState& queries);
  torch::Tensor embed_sequence(const torch::Tensor& query_token, const torch::Tensor& shots);

  ModelSettings settings_;
  bool id_table_, plain_, reads_guider_ = false;  // plain: no [TASK], guider or mask
  double width_root_;
  Fusion fusion_{nullptr};
  QueryMlp guider_{nullptr};            // W_TG; absent where the guider starts as a learned vector
  QueryMlp query_in_{nullptr};          // the plain query token's
  torch::nn::Linear task_in_{nullptr};  // W_q of the [TASK] token
  std::vector<TaskMask> masks_;
  std::vector<GuiderUpdate> updates_;
  std::vector<Block> blocks_;
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear head_{nullptr};
  torch::Tensor begin_, task_, guider_start_, end_key_, position_, log_scale_, item_;
  torch::Tensor mask_divergence_;  // of the last choose(), summed over its batch; with model.mask_sparsity alone
};
TORCH_MODULE(SaberModel);

}  // namespace saber
