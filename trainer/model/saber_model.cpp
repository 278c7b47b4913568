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
  schema.choice(
      kind, "model.kind", "saber", {"saber", "plain", "id_table"},
      "saber, or what it is compared with: a plain transformer, or one that knows demonstrations by number alone",
      fixed);
  schema.choice(gate, "model.gate", "vector", {"vector", "scalar", "none"}, "gate that fuses picture and text", fixed);
  schema.choice(mask, "model.mask", "relevance", {"relevance", "paper", "none"}, "task-aware mask of the attention",
                fixed);
  schema.choice(query_token, "model.query_token", "task", {"task", "plain"},
                "the query's token: [TASK] beside the query, or as in the plain transformer", fixed);
  schema.texts(guider_inputs, "model.guider_inputs", guider_inputs, "what the task guider starts from", fixed,
               "of image, query, instruction; or random, a learned vector that knows no query",
               [](const std::string& name) {
                 return name == "image" || name == "query" || name == "instruction" || name == "random";
               });
  schema.flag(guider_update, "model.guider_update", true, "the guider reads the sequence after each block", fixed);
  schema.flag(head_reads_guider, "model.head_reads_guider", true, "the choice reads the guider, too", fixed);
  schema.choice(head_start, "model.head_start", "similarity", {"similarity", "random"},
                "what an untrained model chooses by", fixed);
  schema.choice(demonstration_text, "model.demonstration_text", "query_result", {"query_result", "query"},
                "what the model reads of a demonstration beside its picture", fixed);
  schema.real(mask_sparsity, "model.mask_sparsity", 0, 0, 1e6, "", "weight of the masks' divergence from uniform ones",
              fixed);
  schema.real(guider_penalty, "model.guider_penalty", 0, 0, 1e6, "", "weight of the squared weights of the guider",
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

namespace {

// Settings that contradict each other.
void require_consistent(const ModelSettings& settings) {
  if (settings.width % settings.heads != 0) {
    throw_bad_input("model.width " + std::to_string(settings.width) + " is no multiple of model.heads " +
                    std::to_string(settings.heads));
  }
  const std::vector<std::string>& inputs = settings.guider_inputs;
  const bool random = std::find(inputs.begin(), inputs.end(), "random") != inputs.end();
  if (inputs.empty() || (random && inputs.size() > 1))
    throw_bad_input("model.guider_inputs wants one or more of image, query, instruction, or random alone");
  const bool plain = settings.kind != "saber";
  if (!plain && settings.mask == "none" && !settings.head_reads_guider)
    throw_bad_input("model.mask is none and model.head_reads_guider false: nothing would read the guider", "",
                    "model.kind: plain is the model without one");
  if (settings.guider_penalty > 0 && (plain || random))
    throw_bad_input("model.guider_penalty wants a guider with weights, which this model does not have");
  if (settings.mask_sparsity > 0 && (plain || settings.mask == "none"))
    throw_bad_input("model.mask_sparsity wants a mask, which this model does not have");
}

}  // namespace

SaberModelImpl::SaberModelImpl(const ModelSettings& settings, const EmbeddingWidths& widths, std::uint64_t seed)
    : settings_(settings),
      id_table_(settings.kind == "id_table"),
      plain_(settings.kind != "saber"),
      width_root_(std::sqrt(static_cast<double>(settings.width))) {
  const std::int64_t d = settings.width;
  require_consistent(settings);
  ModelSettings fusion = settings;
  if (id_table_) fusion.gate = "none";
  fusion_ = register_module("fusion", Fusion(fusion, widths));
  reads_guider_ = !plain_ && settings.head_reads_guider;
  const bool random_guider = settings.guider_inputs == std::vector<std::string>{"random"};
  if (!plain_ && !random_guider) guider_ = register_module("guider", QueryMlp(d, widths, settings.guider_inputs));
  if (id_table_)
    item_ = register_parameter("item", torch::empty({widths.library, d}));
  else if (plain_ || settings.query_token == "plain")
    query_in_ =
        register_module("query_in", QueryMlp(d, widths, std::vector<std::string>{"image", "query", "instruction"}));
  else
    task_in_ = register_module("task_in", nn::Linear(2 * d, d));
  for (std::int64_t layer = 0; layer < settings.blocks; ++layer) {
    const std::string suffix = std::to_string(layer);
    blocks_.push_back(register_module("block" + suffix, Block(settings)));
    if (plain_) continue;
    if (settings.mask != "none") masks_.push_back(register_module("mask" + suffix, TaskMask(settings)));
    const bool read = reads_guider_ || layer + 1 < settings.blocks;  // by the head, or by a mask
    if (settings.guider_update && read)
      updates_.push_back(register_module("guider_update" + suffix, GuiderUpdate(settings)));
  }
  norm_ = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({d})));
  if (!id_table_)
    head_ = register_module("head", nn::Linear(nn::LinearOptions(reads_guider_ ? 2 * d : d, d).bias(false)));
  begin_ = register_parameter("begin", torch::empty({d}));
  if (task_in_ || id_table_) task_ = register_parameter("task", torch::empty({d}));
  if (!plain_ && random_guider) guider_start_ = register_parameter("guider_start", torch::empty({d}));
  end_key_ = register_parameter("end_key", torch::empty({d}));
  position_ = register_parameter("position", torch::empty({settings.max_shots + 2, d}));
  if (!id_table_) log_scale_ = register_parameter("log_scale", torch::empty({}));
  initialise(*this, seed, settings.head_start == "similarity");
}

torch::Tensor SaberModelImpl::query_token(const QueryState& queries) {
  if (id_table_) return task_ + width_root_ * queries.fused;
  if (query_in_) return queries.token + width_root_ * queries.fused;
  const torch::Tensor task = task_.expand_as(queries.fused);
  return task_in_(torch::cat({task, width_root_ * queries.fused}, -1));
}

torch::Tensor SaberModelImpl::embed_sequence(const torch::Tensor& query_token, const torch::Tensor& shots) {
  const std::int64_t batch = query_token.size(0), length = shots.size(1) + 2, known = position_.size(0);
  const torch::Tensor begin = begin_.expand({batch, 1, -1});
  torch::Tensor position = position_.narrow(0, 0, std::min(length, known));
  if (length > known) position = torch::cat({position, position_.narrow(0, known - 1, 1).expand({length - known, -1})});
  return torch::cat({begin, query_token.unsqueeze(1), width_root_ * shots}, 1) + position;
}

QueryState SaberModelImpl::read(const QueryBatch& queries) {
  QueryState state;
  state.fused = fusion_(queries.image, queries.query);
  if (guider_) state.guided = guider_(queries);
  if (guider_start_.defined()) state.guided = guider_start_.expand_as(state.fused);
  if (query_in_) state.token = query_in_(queries);
  return state;
}

torch::Tensor SaberModelImpl::choose(const QueryState& queries, const torch::Tensor& shots) {
  const std::int64_t tokens = shots.size(1) + 1, length = tokens + 1;
  const torch::Tensor& fused_query = queries.fused;
  torch::Tensor x = embed_sequence(query_token(queries), shots);
  const torch::Tensor later = torch::ones({length, length}, x.options().dtype(torch::kBool)).triu(1);

  torch::Tensor g, e, cosine;
  if (!plain_) {
    g = queries.guided.unsqueeze(1).expand({-1, length, -1});
    e = torch::cat({fused_query.unsqueeze(1), shots}, 1);
    if (!masks_.empty()) cosine = pairwise_cosine(e);
  }
  std::vector<torch::Tensor> divergence;
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    const torch::Tensor mask = masks_.empty() ? torch::Tensor() : masks_[layer](g, e, cosine);
    if (mask.defined() && settings_.mask_sparsity > 0) divergence.push_back(divergence_from_uniform(mask).sum());
    x = blocks_[layer](x, mask, later);
    if (layer < updates_.size()) g = updates_[layer](g, x, later);
  }
  if (!divergence.empty()) mask_divergence_ = torch::stack(divergence).mean();
  const torch::Tensor hidden = norm_(x);
  if (id_table_) return hidden.narrow(1, 1, tokens);
  const torch::Tensor read = reads_guider_ ? torch::cat({hidden, g}, -1) : hidden;
  const torch::Tensor chosen = head_(read.narrow(1, 1, tokens));
  return log_scale_.exp() * (settings_.head_start == "similarity" ? chosen + fused_query.unsqueeze(1) : chosen);
}

torch::Tensor SaberModelImpl::penalty_sum(std::int64_t samples) const {
  torch::Tensor out;
  if (settings_.guider_penalty > 0)
    out = settings_.guider_penalty * static_cast<double>(samples) * guider_->squared_weights();
  if (settings_.mask_sparsity > 0) {
    const torch::Tensor sparse = -settings_.mask_sparsity * mask_divergence_;
    out = out.defined() ? out + sparse : sparse;
  }
  return out;
}

}  // namespace saber
