#include "trainer/library/library_head.h"

#include <torch/csrc/autograd/functions/utils.h>

#include <algorithm>
#include <utility>

#include "core/narrow.h"

namespace saber {
namespace {

using Counts = std::vector<std::int64_t>;  // rows per rank

// Gradients of rows that were sent to other ranks come back the same way.
class ExchangeBackward : public torch::autograd::Node {
 public:
  ExchangeBackward(c10d::ProcessGroup& group, Counts from_me, Counts to_me)
      : group_(group), from_me_(std::move(from_me)), to_me_(std::move(to_me)) {}
  torch::autograd::variable_list apply(torch::autograd::variable_list&& grads) override {
    const torch::NoGradGuard no_grad;
    return {exchange_rows(group_, grads[0], to_me_, from_me_)};
  }

 private:
  c10d::ProcessGroup& group_;
  Counts from_me_, to_me_;
};

torch::Tensor exchange_with_gradient(c10d::ProcessGroup& group, const torch::Tensor& mine, const Counts& from_me,
                                     const Counts& to_me) {
  torch::Tensor out = exchange_rows(group, mine.detach(), from_me, to_me);
  if (!torch::autograd::compute_requires_grad(mine)) return out;
  const std::shared_ptr<ExchangeBackward> node(new ExchangeBackward(group, from_me, to_me),
                                               torch::autograd::deleteNode);
  node->set_next_edges(torch::autograd::collect_next_edges(mine));
  torch::autograd::set_history(out, node);
  return out;
}

std::vector<std::int64_t> values_of(const torch::Tensor& integers) {
  return {integers.data_ptr<std::int64_t>(), integers.data_ptr<std::int64_t>() + integers.numel()};
}

}  // namespace

torch::Tensor exchange_rows(c10d::ProcessGroup& group, const torch::Tensor& mine, std::vector<std::int64_t> from_me,
                            std::vector<std::int64_t> to_me) {
  std::vector<std::int64_t> shape = mine.sizes().vec();
  shape[0] = 0;
  for (const std::int64_t count : to_me) shape[0] += count;
  torch::Tensor out = torch::empty(shape, mine.options().requires_grad(false));
  torch::Tensor input = mine.contiguous();
  group.alltoall_base(out, input, to_me, from_me)->wait();
  return out;
}

LibraryHead::LibraryHead(const Library& library, const Features& features, const HeadOptions& options)
    : library_(library),
      features_(features),
      options_(options),
      shard_(options.group == nullptr
                 ? Slice{0, library.size()}
                 : slice_of_rank(library.size(), options.group->getRank(), options.group->getSize())) {}

torch::Tensor LibraryHead::keys(SaberModel& model) const {
  const auto rows = std::span(library_.rows()).subspan(to_index(shard_.begin), to_index(shard_.size()));
  return features_.fuse(model, rows_tensor(rows));
}

torch::Tensor LibraryHead::keys_in_blocks(SaberModel& model, std::int64_t block) const {
  std::vector<torch::Tensor> blocks = {torch::empty({0, model->settings().width}, model->end_key().options())};
  for (std::int64_t begin = shard_.begin; begin < shard_.end; begin += block) {
    const auto rows =
        std::span(library_.rows()).subspan(to_index(begin), to_index(std::min(block, shard_.end - begin)));
    std::vector<std::int64_t> filled(rows.begin(), rows.end());
    filled.resize(to_index(block), rows.front());
    blocks.push_back(features_.fuse(model, rows_tensor(filled)));
  }
  return torch::cat(blocks);
}

// Items of this rank's shard.
torch::Tensor LibraryHead::own_items(SaberModel& model, const torch::Tensor& items, const torch::Tensor& keys) const {
  if (keys.defined()) return keys.index_select(0, (items - shard_.begin).to(keys.device()));
  std::vector<std::int64_t> rows;
  for (const std::int64_t item : values_of(items)) rows.push_back(library_.rows()[to_index(item)]);
  return features_.fuse(model, rows_tensor(rows));
}

// Each item is asked of its owner once, however often it occurs.
torch::Tensor LibraryHead::items(SaberModel& model, const torch::Tensor& items, const torch::Tensor& keys) const {
  if (!sharded()) return own_items(model, items, keys);
  const torch::Tensor flat = items.contiguous();
  const std::vector<std::int64_t> wanted = values_of(flat);
  std::vector<std::int64_t> unique = wanted;
  std::sort(unique.begin(), unique.end());
  unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
  std::vector<std::int64_t> index;
  for (const std::int64_t item : wanted)
    index.push_back(std::lower_bound(unique.begin(), unique.end(), item) - unique.begin());

  const std::int64_t world = group()->getSize();
  Counts asked;
  for (std::int64_t r = 0; r < world; ++r) {
    const Slice theirs = slice_of_rank(library_.size(), r, world);
    asked.push_back(std::lower_bound(unique.begin(), unique.end(), theirs.end) -
                    std::lower_bound(unique.begin(), unique.end(), theirs.begin));
  }
  const Counts ones(to_index(world), 1);
  const Counts given = values_of(exchange_rows(*group(), rows_tensor(asked), ones, ones));
  const torch::Tensor own = own_items(model, exchange_rows(*group(), rows_tensor(unique), asked, given), keys);
  return exchange_with_gradient(*group(), own, given, asked).index_select(0, rows_tensor(index).to(own.device()));
}

torch::Tensor LibraryHead::log_softmax(SaberModel& model, const torch::Tensor& z, const torch::Tensor& keys,
                                       const SoftmaxRows& rows, bool with_end) const {
  ShardOfSoftmax shard{group(), shard_, max_logit_bytes()};
  const bool last = !sharded() || group()->getRank() + 1 == group()->getSize();
  if (!with_end || !last) return shard_log_softmax(shard, z, keys, rows).log_p;
  ++shard.items.end;
  return shard_log_softmax(shard, z, torch::cat({keys, model->end_key().unsqueeze(0)}), rows).log_p;
}

RowLogProbability LibraryHead::log_softmax_and_kl(const torch::Tensor& z, const torch::Tensor& keys,
                                                  const SoftmaxRows& rows, const torch::Tensor& reference_z,
                                                  const torch::Tensor& reference_keys) const {
  return shard_log_softmax({group(), shard_, max_logit_bytes()}, z, keys, rows, reference_z, reference_keys);
}

void exclude_chosen(torch::Tensor& unusable, const torch::Tensor& chosen, Slice items) {
  const torch::Tensor row = chosen.ge(items.begin).logical_and_(chosen.lt(items.end)).nonzero().flatten();
  unusable.index_put_({row, chosen.index_select(0, row) - items.begin}, torch::ones({}, unusable.options()));
}

torch::Tensor padded_rows(const std::vector<std::vector<std::int64_t>>& rows) {
  std::int64_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, size_of(row));
  torch::Tensor out = torch::full({size_of(rows), longest}, -1, torch::kInt64);
  for (std::int64_t i = 0; i < size_of(rows); ++i)
    std::copy(rows[to_index(i)].begin(), rows[to_index(i)].end(), out.data_ptr<std::int64_t>() + i * longest);
  return out;
}

}  // namespace saber
