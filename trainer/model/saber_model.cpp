#include "trainer/model/saber_model.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"
#include "trainer/model/initialise.h"

namespace saber {
namespace nn = torch::nn;

void ModelSettings::declare(Schema& schema) {
  const OnResume fixed = OnResume::must_match;
  schema.choice(kind, "model.kind", "saber", {"saber", "plain"}, "saber, or the plain transformer it is compared with",
                fixed);
  schema.choice(gate, "model.gate", "vector", {"vector", "scalar", "none"}, "gate that fuses picture and text", fixed);
  schema.choice(mask, "model.mask", "relevance", {"relevance", "paper", "none"}, "task-aware mask of the attention",
                fixed);
  schema.integer(width, "model.width", 128, 1, 65536, "", "width d", fixed);
  schema.integer(blocks, "model.blocks", 2, 1, 128, "", "transformer blocks", fixed);
  schema.integer(heads, "model.heads", 4, 1, 128, "", "attention heads; must divide the width", fixed);
  schema.integer(max_shots, "model.max_shots", 8, 1, 1024, "shots",
                 "learned positions; longer sequences reuse the last", fixed);
  schema.choice(
      head, "model.head", head, {"replicated", "sharded"},
      "in train, select and eval: every rank holds the whole library, or a share, and the ranks work together");
  schema.integer(max_logit_mib, "model.max_logit_mib", max_logit_mib, 1, Schema::kAny, "MiB",
                 "memory that one chunk of logits over the library may take");
}

SaberModelImpl::SaberModelImpl(const ModelSettings& settings, const EmbeddingWidths& widths, std::uint64_t seed)
    : settings_(settings),
      plain_(settings.kind == "plain"),
      width_root_(std::sqrt(static_cast<double>(settings.width))) {
  const std::int64_t d = settings.width;
  if (d % settings.heads != 0) {
    throw_bad_input("model.width " + std::to_string(d) + " is no multiple of model.heads " +
                    std::to_string(settings.heads));
  }
  fusion_ = register_module("fusion", Fusion(settings, widths));
  guider_ = register_module("guider", TaskGuider(settings, widths));
  if (!plain_) task_in_ = register_module("task_in", nn::Linear(2 * d, d));
  for (std::int64_t layer = 0; layer < settings.blocks; ++layer) {
    const std::string suffix = std::to_string(layer);
    blocks_.push_back(register_module("block" + suffix, Block(settings)));
    if (plain_) continue;
    if (settings.mask != "none") masks_.push_back(register_module("mask" + suffix, TaskMask(settings)));
    updates_.push_back(register_module("guider_update" + suffix, GuiderUpdate(settings)));
  }
  norm_ = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({d})));
  head_ = register_module("head", nn::Linear(nn::LinearOptions(plain_ ? d : 2 * d, d).bias(false)));
  begin_ = register_parameter("begin", torch::empty({d}));
  if (!plain_) task_ = register_parameter("task", torch::empty({d}));
  end_key_ = register_parameter("end_key", torch::empty({d}));
  position_ = register_parameter("position", torch::empty({settings.max_shots + 2, d}));
  log_scale_ = register_parameter("log_scale", torch::empty({}));
  initialise(*this, seed);
}

torch::Tensor SaberModelImpl::query_token(const torch::Tensor& guided, const torch::Tensor& fused_query) {
  if (plain_) return guided + width_root_ * fused_query;
  const torch::Tensor task = task_.expand_as(fused_query);
  return task_in_(torch::cat({task, width_root_ * fused_query}, -1));
}

torch::Tensor SaberModelImpl::embed_sequence(const torch::Tensor& query_token, const torch::Tensor& shots) {
  const std::int64_t batch = query_token.size(0), length = shots.size(1) + 2, known = position_.size(0);
  const torch::Tensor begin = begin_.expand({batch, 1, -1});
  torch::Tensor position = position_.narrow(0, 0, std::min(length, known));
  if (length > known) position = torch::cat({position, position_.narrow(0, known - 1, 1).expand({length - known, -1})});
  return torch::cat({begin, query_token.unsqueeze(1), width_root_ * shots}, 1) + position;
}

QueryState SaberModelImpl::read(const QueryBatch& queries) {
  return {fusion_(queries.image, queries.query),
          guider_(scaled_query_inputs(queries.image, queries.query, queries.instruction))};
}

torch::Tensor SaberModelImpl::choose(const QueryState& queries, const torch::Tensor& shots) {
  const std::int64_t tokens = shots.size(1) + 1, length = tokens + 1;
  const auto& [fused_query, guided] = queries;
  torch::Tensor x = embed_sequence(query_token(guided, fused_query), shots);
  const torch::Tensor later = torch::ones({length, length}, x.options().dtype(torch::kBool)).triu(1);

  torch::Tensor g, e, cosine;
  if (!plain_) {
    g = guided.unsqueeze(1).expand({-1, length, -1});
    e = torch::cat({fused_query.unsqueeze(1), shots}, 1);
    if (!masks_.empty()) cosine = pairwise_cosine(e);
  }
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    const torch::Tensor mask = masks_.empty() ? torch::Tensor() : masks_[layer](g, e, cosine);
    x = blocks_[layer](x, mask, later);
    if (!plain_) g = updates_[layer](g, x, later);
  }
  const torch::Tensor hidden = norm_(x);
  const torch::Tensor read = plain_ ? hidden : torch::cat({hidden, g}, -1);
  return log_scale_.exp() * (head_(read.narrow(1, 1, tokens)) + fused_query.unsqueeze(1));
}

}  // namespace saber
