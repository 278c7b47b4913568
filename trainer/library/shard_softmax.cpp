#include "trainer/library/shard_softmax.h"

#include <torch/csrc/autograd/functions/utils.h>

#include <algorithm>
#include <utility>

#include "core/narrow.h"
#include "trainer/model/precision.h"

namespace saber {
namespace {

constexpr double kUnusable = -1e30;  // a logit that no softmax notices

// The rows of all ranks: what each chose, and pairs of row and item that take no part; where the logits are.
struct AllRows {
  torch::Tensor target, unusable_row, unusable_item;
};

// Logits of all rows over the shard's items, chunk by chunk. A single chunk is kept.
class ChunkedLogits {
 public:
  ChunkedLogits(torch::Tensor z, torch::Tensor keys, const AllRows& rows, const ShardOfSoftmax& shard)
      : z_(std::move(z)), keys_(std::move(keys)), rows_(rows), first_(shard.items.begin) {
    const std::int64_t row_bytes = std::max<std::int64_t>(1, z_.size(0) * z_.element_size());
    chunk_ = std::clamp<std::int64_t>(shard.max_logit_bytes / row_bytes, 1, std::max<std::int64_t>(1, keys_.size(0)));
  }
  const torch::Tensor& z() const { return z_; }
  torch::Tensor keys(std::int64_t chunk) const { return keys_.narrow(0, begin(chunk), size(chunk)); }
  std::int64_t num_chunks() const { return ceil_div(keys_.size(0), chunk_); }
  std::int64_t begin(std::int64_t chunk) const { return chunk * chunk_; }
  std::int64_t size(std::int64_t chunk) const { return std::min(chunk_, keys_.size(0) - begin(chunk)); }

  torch::Tensor chunk(std::int64_t i) {
    if (kept_.defined()) return kept_;
    torch::Tensor logits = full_precision(torch::matmul(z_, keys(i).t()));
    const torch::Tensor column = rows_.unusable_item - (first_ + begin(i));
    const torch::Tensor inside = column.ge(0).logical_and_(column.lt(size(i)));
    const torch::Tensor cell = (rows_.unusable_row * size(i) + column).masked_select(inside);
    logits.view({-1}).index_fill_(0, cell, kUnusable);
    if (num_chunks() == 1) kept_ = logits;
    return logits;
  }
  // Rows whose target is in the chunk, and its column.
  std::pair<torch::Tensor, torch::Tensor> targets(std::int64_t i) const {
    const torch::Tensor column = rows_.target - (first_ + begin(i));
    const torch::Tensor inside = column.ge(0).logical_and_(column.lt(size(i)));
    return {inside.nonzero().flatten(), column.masked_select(inside)};
  }

 private:
  torch::Tensor z_, keys_;
  AllRows rows_;
  std::int64_t first_, chunk_ = 1;
  torch::Tensor kept_;
};

// log of the sum of all items' exponentials, and the target's logit; [N] each.
std::pair<torch::Tensor, torch::Tensor> normaliser(c10d::ProcessGroup* group, ChunkedLogits& logits) {
  const auto options = logits.z().options();
  const std::int64_t rows = logits.z().size(0);
  torch::Tensor most = torch::full({rows}, kUnusable, options), both = torch::zeros({2, rows}, options);
  torch::Tensor sum = both[0], target = both[1];
  for (std::int64_t i = 0; i < logits.num_chunks(); ++i) {
    const torch::Tensor chunk = logits.chunk(i);
    const torch::Tensor larger = torch::maximum(most, chunk.amax(1));
    sum.mul_((most - larger).exp_()).add_((chunk - larger.unsqueeze(1)).exp_().sum(1));
    most = larger;
    const auto [row, column] = logits.targets(i);
    target.index_add_(0, row, chunk.flatten().index_select(0, row * logits.size(i) + column));
  }
  const torch::Tensor own = most.clone();
  reduce_over_ranks(group, most, c10d::ReduceOp::MAX);
  sum.mul_((own - most).exp_());
  reduce_over_ranks(group, both, c10d::ReduceOp::SUM);
  return {most + sum.log(), target};
}

class SoftmaxBackward : public torch::autograd::Node {
 public:
  SoftmaxBackward(const ShardOfSoftmax& shard, std::int64_t own_rows, std::int64_t longest, c10::DeviceType device)
      : shard_(shard), own_rows_(own_rows), longest_(longest), device_(device), bf16_(Bf16Products::active(device)) {}

  // log-probability and KL of all rows; what backward needs stays.
  std::pair<torch::Tensor, torch::Tensor> forward(ChunkedLogits logits, std::optional<ChunkedLogits> reference) {
    auto [log_sum, target] = normaliser(shard_.group, logits);
    logits_ = std::move(logits);
    log_sum_ = log_sum;
    if (!reference) return {target - log_sum, torch::Tensor()};
    reference_ = std::move(reference);
    reference_log_sum_ = normaliser(shard_.group, *reference_).first;
    kl_ = torch::zeros_like(log_sum);
    for (std::int64_t i = 0; i < logits_->num_chunks(); ++i) kl_.add_((probability(i) * log_ratio(i)).sum(1));
    reduce_over_ranks(shard_.group, kl_, c10d::ReduceOp::SUM);
    return {target - log_sum, kl_};
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& grads) override {
    const torch::NoGradGuard no_grad;
    const torch::Tensor zero = torch::zeros({own_rows_}, log_sum_.options());
    const auto or_zero = [&](const torch::Tensor& grad) { return grad.defined() ? grad : zero; };
    const torch::Tensor mine = torch::stack({or_zero(grads[0]), grads.size() > 1 ? or_zero(grads[1]) : zero}, 1);
    const torch::Tensor grad = gather_rows(shard_.group, mine, longest_, 0);
    torch::Tensor grad_z = torch::zeros_like(logits_->z());
    std::vector<torch::Tensor> grad_keys;
    for (std::int64_t i = 0; i < logits_->num_chunks(); ++i) {
      const Bf16Products products(bf16_, device_);  // as in forward: logits that are made again must be the same
      const torch::Tensor d = grad_of_logits(i, grad);
      grad_z.add_(torch::matmul(d, logits_->keys(i)));
      grad_keys.push_back(full_precision(torch::matmul(d.t(), logits_->z())));
    }
    const torch::Tensor keys = grad_keys.empty() ? logits_->keys(0) : torch::cat(grad_keys);
    return {own_part(grad_z), keys};
  }
  void release_variables() override {
    logits_.reset();
    reference_.reset();
  }

 private:
  torch::Tensor probability(std::int64_t i) { return (logits_->chunk(i) - log_sum_.unsqueeze(1)).exp_(); }
  // log of policy / reference.
  torch::Tensor log_ratio(std::int64_t i) {
    return logits_->chunk(i) - reference_->chunk(i) - (log_sum_ - reference_log_sum_).unsqueeze(1);
  }
  torch::Tensor grad_of_logits(std::int64_t i, const torch::Tensor& grad) {
    const torch::Tensor p = probability(i);
    torch::Tensor out = p * grad.select(1, 0).neg().unsqueeze(1);
    if (reference_) out.add_(p * (log_ratio(i) - kl_.unsqueeze(1)) * grad.select(1, 1).unsqueeze(1));
    const auto [row, column] = logits_->targets(i);
    out.view({-1}).index_add_(0, row * logits_->size(i) + column, grad.select(1, 0).index_select(0, row));
    return out;
  }
  // Of the sum over all ranks.
  torch::Tensor own_part(torch::Tensor& all) const {
    if (shard_.group == nullptr) return all;
    torch::Tensor mine = torch::empty({longest_, all.size(1)}, all.options());
    shard_.group->_reduce_scatter_base(mine, all)->wait();
    return mine.narrow(0, 0, own_rows_);
  }

  ShardOfSoftmax shard_;
  std::int64_t own_rows_, longest_;
  c10::DeviceType device_;
  bool bf16_;
  std::optional<ChunkedLogits> logits_, reference_;
  torch::Tensor log_sum_, reference_log_sum_, kl_;
};

}  // namespace

void reduce_over_ranks(c10d::ProcessGroup* group, torch::Tensor& tensor, c10d::ReduceOp::RedOpType kind) {
  if (group == nullptr) return;
  std::vector<at::Tensor> tensors{tensor};
  c10d::AllreduceOptions options;
  options.reduceOp = kind;
  group->allreduce(tensors, options)->wait();
}

std::int64_t largest_of_ranks(c10d::ProcessGroup* group, std::int64_t mine) {
  if (group == nullptr) return mine;
  std::int64_t most = mine;
  for (const auto& theirs : all_gather_values(*group, std::vector{mine}, 1)) most = std::max(most, theirs.at(0));
  return most;
}

torch::Tensor gather_rows(c10d::ProcessGroup* group, const torch::Tensor& mine, std::int64_t longest, double padding) {
  if (group == nullptr) return mine;
  std::vector<std::int64_t> shape = mine.sizes().vec();
  shape[0] = longest;
  torch::Tensor padded = torch::full(shape, padding, mine.options().requires_grad(false));
  padded.narrow(0, 0, mine.size(0)).copy_(mine);
  shape[0] = longest * group->getSize();
  torch::Tensor all = torch::empty(shape, padded.options());
  group->_allgather_base(all, padded)->wait();
  return all;
}

RowLogProbability shard_log_softmax(const ShardOfSoftmax& shard, const torch::Tensor& z, const torch::Tensor& keys,
                                    const SoftmaxRows& rows, const torch::Tensor& reference_z,
                                    const torch::Tensor& reference_keys) {
  const torch::Tensor z_mine = full_precision(z), keys_mine = full_precision(keys);
  std::shared_ptr<SoftmaxBackward> node;
  std::pair<torch::Tensor, torch::Tensor> out;
  {
    const torch::NoGradGuard no_grad;
    const std::int64_t n = z.size(0), longest = largest_of_ranks(shard.group, n);
    const std::int64_t most = largest_of_ranks(shard.group, rows.unusable.size(1));
    const torch::Tensor unusable = torch::constant_pad_nd(rows.unusable, {0, most - rows.unusable.size(1)}, -1);
    const torch::Tensor all =
        gather_rows(shard.group, torch::cat({rows.target.unsqueeze(1), unusable}, 1), longest, -1);
    const torch::Tensor pairs = all.narrow(1, 1, most).ge(0).nonzero();
    const torch::Tensor items = all.narrow(1, 1, most).masked_select(all.narrow(1, 1, most).ge(0));
    const AllRows all_rows{all.select(1, 0).contiguous().to(z.device()), pairs.select(1, 0).contiguous().to(z.device()),
                           items.to(z.device())};
    const auto logits_of = [&](const torch::Tensor& of_rows, const torch::Tensor& of_items) {
      return ChunkedLogits(gather_rows(shard.group, of_rows.detach(), longest, 0), of_items.detach(), all_rows, shard);
    };
    std::optional<ChunkedLogits> reference;
    if (reference_z.defined()) reference = logits_of(full_precision(reference_z), full_precision(reference_keys));
    node = std::shared_ptr<SoftmaxBackward>(new SoftmaxBackward(shard, n, longest, z.device().type()),
                                            torch::autograd::deleteNode);
    out = node->forward(logits_of(z_mine, keys_mine), std::move(reference));
    const std::int64_t begin = shard.group == nullptr ? 0 : shard.group->getRank() * longest;
    out.first = out.first.narrow(0, begin, n).clone();
    if (out.second.defined()) out.second = out.second.narrow(0, begin, n).clone();
  }
  if (torch::autograd::compute_requires_grad(z_mine, keys_mine)) {
    node->set_next_edges(torch::autograd::collect_next_edges(z_mine, keys_mine));
    torch::autograd::set_history(out.first, node);
    if (out.second.defined()) torch::autograd::set_history(out.second, node);
  }
  return {out.first, out.second};
}

}  // namespace saber
