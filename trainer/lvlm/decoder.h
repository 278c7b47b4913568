// The tiny LVLM's language half: a causal pre-norm transformer over (picture, question, answer) tokens.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace saber {

// Keys and values of tokens already read, per block: [sequences, heads, tokens, head width].
struct KeyValueCache {
  std::vector<torch::Tensor> keys;
  std::vector<torch::Tensor> values;

  bool empty() const { return keys.empty(); }
  std::int64_t num_tokens() const { return empty() ? 0 : keys.front().size(2); }
  // The first `num_tokens` tokens of the given sequences (int64 [n]).
  KeyValueCache select(const torch::Tensor& sequences, std::int64_t num_tokens) const;
};

class DecoderBlockImpl : public torch::nn::Module {
 public:
  DecoderBlockImpl(std::int64_t width, std::int64_t heads);

  // x [batch, tokens, width], causal. For training.
  torch::Tensor forward(const torch::Tensor& x);
  // x: new tokens [batch, tokens, width] that follow `keys`, `values` [batch, heads, read, head width], which get the
  // new tokens appended. When only_last, the result has the last token alone: [batch, 1, width].
  torch::Tensor extend(const torch::Tensor& x, torch::Tensor& keys, torch::Tensor& values, bool only_last);

 private:
  torch::Tensor feed_forward(const torch::Tensor& x);

  std::int64_t heads_;
  torch::nn::LayerNorm norm1_{nullptr}, norm2_{nullptr};
  torch::nn::Linear qkv_{nullptr}, out_{nullptr}, up_{nullptr}, down_{nullptr};
};
TORCH_MODULE(DecoderBlock);

class DecoderImpl : public torch::nn::Module {
 public:
  static constexpr std::int64_t kBlocks = 4, kWidth = 128, kHeads = 4;

  explicit DecoderImpl(std::int64_t vocabulary_size);

  // tokens [batch, tokens, width], positions included. Returns logits over the vocabulary at every position.
  torch::Tensor forward(torch::Tensor tokens);
  // tokens: those after `cache`, which is extended by them. Returns logits at the last position, [batch, vocabulary].
  torch::Tensor extend(torch::Tensor tokens, KeyValueCache& cache);

 private:
  std::vector<DecoderBlock> blocks_;
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear head_{nullptr};
};
TORCH_MODULE(Decoder);

}  // namespace saber
