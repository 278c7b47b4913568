// The softmax over the library, cut into shards: each rank knows the keys of its own items only, and the ranks combine
// maximum, sum of exponentials and the chosen item's logit. Without a group one rank holds all items, and nothing is
// sent. Logits are made chunk by chunk, so that they never need more than a set amount of memory.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "comm/process_group.h"
#include "core/slice.h"

namespace saber {

struct ShardOfSoftmax {
  c10d::ProcessGroup* group = nullptr;  // null: this rank holds every item
  Slice items;                          // of the library, that `keys` stands for; [EOS] may be the last one's last
  std::int64_t max_logit_bytes = 0;     // that one chunk of logits may take
};

// What a row chose and what it could not choose; of this rank's rows. On the CPU.
struct SoftmaxRows {
  torch::Tensor target;    // int64 [n]
  torch::Tensor unusable;  // int64 [n, m], items that take no part, -1: none; m may differ between ranks
};

struct RowLogProbability {
  torch::Tensor log_p;  // [n], of the targets, with a gradient
  torch::Tensor kl;     // [n], KL(policy, reference), with a gradient; undefined without a reference
};

// Row i has logits <z[i], keys[x]> over the items x that it may use (docs/model.md, eq. 12). z [n, d]; keys [items of
// the shard, d], on one device. reference_z, reference_keys: the same of a fixed policy, or undefined. Collective with
// a group, as is the backward pass: every rank must run it, n = 0 included.
RowLogProbability shard_log_softmax(const ShardOfSoftmax& shard, const torch::Tensor& z, const torch::Tensor& keys,
                                    const SoftmaxRows& rows, const torch::Tensor& reference_z = {},
                                    const torch::Tensor& reference_keys = {});

// All ranks' rows below each other, in rank order, each rank's padded to the longest with `padding`: [W * longest,
// ...]. Without a group: `mine`. Collective with one; no gradient.
torch::Tensor gather_rows(c10d::ProcessGroup* group, const torch::Tensor& mine, std::int64_t longest, double padding);

// Combines `tensor` (contiguous) of all ranks in place. Without a group: nothing. Collective with one.
void reduce_over_ranks(c10d::ProcessGroup* group, torch::Tensor& tensor, c10d::ReduceOp::RedOpType kind);

// The largest of every rank's number.
std::int64_t largest_of_ranks(c10d::ProcessGroup* group, std::int64_t mine);

}  // namespace saber
