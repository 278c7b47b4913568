// The library as the softmax sees it: replicated (every rank holds all items) or sharded (each rank holds and fuses
// K / W of them, and the ranks work together). The two give the same numbers up to rounding.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "comm/process_group.h"
#include "trainer/library/library.h"
#include "trainer/library/shard_softmax.h"
#include "trainer/model/features.h"

namespace saber {

struct HeadOptions {
  c10d::ProcessGroup* group = nullptr;                     // null: replicated
  std::int64_t max_logit_bytes = std::int64_t{256} << 20;  // of one chunk of logits
};

class LibraryHead {
 public:
  // References must outlive the head.
  LibraryHead(const Library& library, const Features& features, const HeadOptions& options);

  // Whether every call below is collective, and every backward pass through its result.
  bool sharded() const { return options_.group != nullptr; }
  c10d::ProcessGroup* group() const { return options_.group; }
  const Library& library() const { return library_; }
  Slice shard() const { return shard_; }  // items of this rank

  // e of the items of this rank's shard [K_r, d]. Not collective.
  torch::Tensor keys(SaberModel& model) const;
  // The same, fused `block` items at a time, the last block filled up with copies of an item: what an item becomes does
  // not depend on the shard that it lies in. [K_r rounded up to a multiple of block, d]. Not collective.
  torch::Tensor keys_in_blocks(SaberModel& model, std::int64_t block) const;
  // e of any items, int64 [n] on the CPU -> [n, d], with a gradient. keys: of keys(model), if they are there anyway.
  torch::Tensor items(SaberModel& model, const torch::Tensor& items, const torch::Tensor& keys = {}) const;

  // log softmax at the targets (shard_softmax.h). keys: of keys(model). with_end: [EOS] is item K.
  torch::Tensor log_softmax(SaberModel& model, const torch::Tensor& z, const torch::Tensor& keys,
                            const SoftmaxRows& rows, bool with_end) const;
  // The same without [EOS], beside KL(policy, reference).
  RowLogProbability log_softmax_and_kl(const torch::Tensor& z, const torch::Tensor& keys, const SoftmaxRows& rows,
                                       const torch::Tensor& reference_z, const torch::Tensor& reference_keys) const;

  std::int64_t max_logit_bytes() const { return options_.max_logit_bytes; }

 private:
  torch::Tensor own_items(SaberModel& model, const torch::Tensor& items, const torch::Tensor& keys) const;

  const Library& library_;
  const Features& features_;
  HeadOptions options_;
  Slice shard_;
};

// Sends rows to other ranks: the first from_me[0] rows of `mine` to rank 0, the next from_me[1] to rank 1 ...; returns
// the to_me[r] rows of every rank r, in rank order. Collective; no gradient.
torch::Tensor exchange_rows(c10d::ProcessGroup& group, const torch::Tensor& mine, std::vector<std::int64_t> from_me,
                            std::vector<std::int64_t> to_me);

// Row i of `unusable`, bool [n, items], may not choose chosen[i] (int64 [n]) any more, where that is one of `items`.
void exclude_chosen(torch::Tensor& unusable, const torch::Tensor& chosen, Slice items);

// int64 [rows, longest], each row's items, padded with -1.
torch::Tensor padded_rows(const std::vector<std::vector<std::int64_t>>& rows);

}  // namespace saber
