#include "trainer/lvlm/decoder.h"

#include <cmath>
#include <limits>
#include <string>

namespace saber {
namespace nn = torch::nn;

KeyValueCache KeyValueCache::select(const torch::Tensor& sequences, std::int64_t num_tokens) const {
  KeyValueCache out;
  for (std::size_t block = 0; block < keys.size(); ++block) {
    out.keys.push_back(keys[block].narrow(2, 0, num_tokens).index_select(0, sequences));
    out.values.push_back(values[block].narrow(2, 0, num_tokens).index_select(0, sequences));
  }
  return out;
}

DecoderBlockImpl::DecoderBlockImpl(std::int64_t width, std::int64_t heads) : heads_(heads) {
  norm1_ = register_module("norm1", nn::LayerNorm(nn::LayerNormOptions({width})));
  qkv_ = register_module("qkv", nn::Linear(width, 3 * width));
  out_ = register_module("out", nn::Linear(width, width));
  norm2_ = register_module("norm2", nn::LayerNorm(nn::LayerNormOptions({width})));
  up_ = register_module("up", nn::Linear(width, 4 * width));
  down_ = register_module("down", nn::Linear(4 * width, width));
}

torch::Tensor DecoderBlockImpl::feed_forward(const torch::Tensor& x) {
  return x + down_(torch::gelu(up_(norm2_(x))));
}

torch::Tensor DecoderBlockImpl::forward(const torch::Tensor& x) {
  const std::int64_t batch = x.size(0), tokens = x.size(1), width = x.size(2);
  const std::vector<torch::Tensor> qkv =
      qkv_(norm1_(x)).view({batch, tokens, 3, heads_, width / heads_}).permute({2, 0, 3, 1, 4}).unbind(0);
  const torch::Tensor read = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], {}, 0.0, /*is_causal=*/true);
  return feed_forward(x + out_(read.transpose(1, 2).reshape({batch, tokens, width})));
}

torch::Tensor DecoderBlockImpl::extend(const torch::Tensor& x, torch::Tensor& keys, torch::Tensor& values,
                                       bool only_last) {
  const std::int64_t batch = x.size(0), tokens = x.size(1), width = x.size(2), head_width = width / heads_;
  const std::vector<torch::Tensor> qkv =
      qkv_(norm1_(x)).view({batch, tokens, 3, heads_, head_width}).permute({2, 0, 3, 1, 4}).unbind(0);
  keys = keys.defined() ? torch::cat({keys, qkv[1]}, 2) : qkv[1].contiguous();
  values = values.defined() ? torch::cat({values, qkv[2]}, 2) : qkv[2].contiguous();
  const std::int64_t all = keys.size(2), kept = only_last ? 1 : tokens;
  const torch::Tensor query = qkv[0].narrow(2, tokens - kept, kept).reshape({batch * heads_, kept, head_width});
  torch::Tensor scores = torch::bmm(query, keys.view({batch * heads_, all, head_width}).transpose(1, 2))
                             .mul_(1.0 / std::sqrt(double(head_width)));
  if (kept > 1) {  // token i of the new ones sits at position all - tokens + i and sees nothing after itself
    const torch::Tensor later = torch::ones({kept, all}, scores.options().dtype(torch::kBool)).triu_(all - tokens + 1);
    scores.masked_fill_(later, -std::numeric_limits<float>::infinity());
  }
  const torch::Tensor read = torch::bmm(scores.softmax(-1), values.view({batch * heads_, all, head_width}))
                                 .view({batch, heads_, kept, head_width})
                                 .transpose(1, 2)
                                 .reshape({batch, kept, width});
  return feed_forward(x.narrow(1, tokens - kept, kept) + out_(read));
}

DecoderImpl::DecoderImpl(std::int64_t vocabulary_size) {
  for (std::int64_t i = 0; i < kBlocks; ++i) {
    blocks_.push_back(register_module("block" + std::to_string(i), DecoderBlock(kWidth, kHeads)));
  }
  norm_ = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({kWidth})));
  head_ = register_module("head", nn::Linear(kWidth, vocabulary_size));
}

torch::Tensor DecoderImpl::forward(torch::Tensor tokens) {
  for (DecoderBlock& block : blocks_) tokens = block(tokens);
  return head_(norm_(tokens));
}

torch::Tensor DecoderImpl::extend(torch::Tensor tokens, KeyValueCache& cache) {
  cache.keys.resize(blocks_.size());
  cache.values.resize(blocks_.size());
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    tokens = blocks_[i]->extend(tokens, cache.keys[i], cache.values[i], i + 1 == blocks_.size());
  }
  return head_(norm_(tokens)).squeeze(1);
}

}  // namespace saber
