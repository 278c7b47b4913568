#include "trainer/search/selector.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/narrow.h"
#include "trainer/library/top_items.h"

namespace saber {
namespace {

// Items per matrix product. Every product has the same shape, so that equal items have equal logits in any shard.
constexpr std::int64_t kItemBlock = 512;
constexpr double kNever = -std::numeric_limits<double>::infinity();
constexpr double kLeast = -1e30;  // below any logit; exp(-infinity - kLeast) is 0 and not NaN

}  // namespace

// `width` sequences per query of this rank's block, best first; query q has rows q * width ... of every tensor.
struct Selector::Beams {
  std::int64_t width;
  torch::Tensor total;  // float64 [n * width], log-probability; minus infinity: there is no such sequence
  torch::Tensor items;  // int64 [n * width, chosen so far]
  torch::Tensor log_p;  // float64 [n * width, chosen so far]
  torch::Tensor from;   // int64 [n * width], the sequence that each extends by its last item

  Beams(std::int64_t queries, std::int64_t beam)
      : width(beam),
        total(torch::full({queries, beam}, kNever, torch::kFloat64)),
        items(torch::empty({queries * beam, 0}, torch::kInt64)),
        log_p(torch::empty({queries * beam, 0}, torch::kFloat64)) {
    total.select(1, 0).zero_();  // one empty sequence per query
    total = total.flatten();
  }
};

// The best next items of every sequence, best first.
struct Selector::Candidates {
  torch::Tensor keys;       // int64 [rows, count], logit and item
  torch::Tensor most, sum;  // float64 [rows]: largest logit, and the sum of all exp(logit - most)
  // On the CPU:
  torch::Tensor item;   // int64 [rows, count]
  torch::Tensor log_p;  // float64 [rows, count]; minus infinity: nothing is left
};

Selector::Selector(SaberModel model, const LibraryHead& head, const SelectOptions& options)
    : model_(std::move(model)), head_(head), options_(options), constraints_(head.library(), head.shard(), options) {
  const torch::NoGradGuard no_grad;
  keys_ = head_.keys_in_blocks(model_, kItemBlock);
}

std::vector<Selection> Selector::select(const EmbeddingSet& queries, const Features& query_features,
                                        std::span<const std::int64_t> rows) {
  const torch::NoGradGuard no_grad;
  std::vector<Selection> out;
  const std::size_t at_once = to_index(kBlock * world_size());
  for (std::size_t begin = 0; begin < rows.size(); begin += at_once) {
    select_blocks(queries, query_features, rows.subspan(begin, std::min(at_once, rows.size() - begin)), out);
  }
  return out;
}

// Seen at once, and not after many positions.
void Selector::require_enough(const EmbeddingSet& queries, std::span<const std::int64_t> rows,
                              const torch::Tensor& unusable) const {
  torch::Tensor usable = unusable.logical_not().sum(1);
  reduce_over_ranks(head_.group(), usable, c10d::ReduceOp::SUM);
  const torch::Tensor too_few = usable < options_.shots;
  if (too_few.any().item<bool>())
    refuse(queries.id[to_index(rows[to_index(too_few.to(torch::kInt64).argmax().item<std::int64_t>())])]);
}

void Selector::refuse(std::int64_t query_id) const {
  throw_bad_input(fmt::format("{} demonstrations wanted, none such found for query {} among {} library rows",
                              options_.shots, query_id, head_.library().size()),
                  "select.shots", "ask for fewer, or for fewer constraints, or try a larger select.beam");
}

// Of one block's sequences, among the items of this rank's shard. Items pass in spans of a bounded size; sums in
// float64, so that neither spans nor shards are seen in a log-probability that is rounded to float32.
Selector::Candidates Selector::of_shard(const torch::Tensor& z, const torch::Tensor& unusable) const {
  const std::int64_t rows = z.size(0), items = unusable.size(1);
  const std::int64_t count = std::min(options_.beam, head_.library().size());
  const std::int64_t blocks = head_.max_logit_bytes() / (rows * z.element_size() * kItemBlock);
  const std::int64_t span = std::max<std::int64_t>(1, blocks) * kItemBlock;
  const auto options = z.options().dtype(torch::kFloat64);
  Candidates out;
  out.most = torch::full({rows}, kLeast, options);
  out.sum = torch::zeros({rows}, options);
  std::vector<torch::Tensor> keys = {torch::empty({rows, 0}, z.options().dtype(torch::kInt64))};
  for (std::int64_t begin = 0; begin < items; begin += span) {
    const std::int64_t filled = std::min(span, keys_.size(0) - begin), size = std::min(span, items - begin);
    torch::Tensor all = torch::empty({rows, filled}, z.options());
    for (std::int64_t block = 0; block < filled; block += kItemBlock) {
      torch::Tensor part = all.narrow(1, block, kItemBlock);
      torch::mm_out(part, z, keys_.narrow(0, begin + block, kItemBlock).t());
    }
    torch::Tensor logits = all.narrow(1, 0, size).masked_fill_(unusable.narrow(1, begin, size), kNever);
    keys.push_back(top_keys(logits, head_.shard().begin + begin, count));
    const torch::Tensor larger = torch::maximum(out.most, logits.amax(1).to(torch::kFloat64));
    out.sum.mul_((out.most - larger).exp_());
    out.sum.add_(logits.to(torch::kFloat64).sub_(larger.unsqueeze(1)).exp_().sum(1));
    out.most = larger;
  }
  out.keys = top_of_keys(torch::cat(keys, 1), count);
  return out;
}

// Each shard names its best for the sequences of all ranks' blocks, and each rank takes the best of those named for its
// own. z [sequences of all blocks, d], unusable of the same rows, on the CPU.
Selector::Candidates Selector::best(const torch::Tensor& z, const torch::Tensor& unusable) const {
  const std::int64_t height = kBlock * options_.beam, blocks = z.size(0) / height;
  std::vector<torch::Tensor> keys, most, sums;
  for (std::int64_t block = 0; block < blocks; ++block) {
    const Candidates of_block =
        of_shard(z.narrow(0, block * height, height), unusable.narrow(0, block * height, height).to(z.device()));
    keys.push_back(of_block.keys);
    most.push_back(of_block.most);
    sums.push_back(of_block.sum);
  }
  Candidates out{torch::cat(keys), torch::cat(most), torch::cat(sums), {}, {}};
  if (head_.sharded()) {
    const torch::Tensor own = out.most.clone();
    reduce_over_ranks(head_.group(), out.most, c10d::ReduceOp::MAX);
    out.sum.mul_((own - out.most).exp_());
    reduce_over_ranks(head_.group(), out.sum, c10d::ReduceOp::SUM);
    const std::int64_t count = out.keys.size(1), mine = rank() < blocks ? height : 0;
    std::vector<std::int64_t> from_me(to_index(world_size()), 0), to_me(to_index(world_size()), mine);
    std::fill_n(from_me.begin(), blocks, height);
    const torch::Tensor named = exchange_rows(*head_.group(), out.keys, from_me, to_me);
    out.keys = top_of_keys(
        named.view({world_size(), mine, count}).transpose(0, 1).reshape({mine, world_size() * count}), count);
  }
  torch::Tensor log_sum = out.most + out.sum.log();
  if (log_sum.isnan().any().item<bool>()) throw Error(ErrorKind::internal, "the model's logits are no numbers");
  log_sum = log_sum.narrow(0, head_.sharded() && rank() < blocks ? rank() * height : 0, out.keys.size(0));
  const torch::Tensor logits = values_of_keys(out.keys).to(torch::kFloat64);
  out.item = items_of_keys(out.keys).cpu();
  out.log_p = (logits - log_sum.unsqueeze(1)).masked_fill_(logits.isneginf(), kNever);
  out.log_p = out.log_p.to(torch::kFloat32).to(torch::kFloat64).cpu();
  return out;
}

void Selector::extend(Beams& beams, const Candidates& candidates) const {
  const std::int64_t width = beams.width, n = beams.total.size(0) / width, best = candidates.item.size(1);
  const torch::Tensor totals = beams.total.unsqueeze(1) + candidates.log_p;
  const auto total = totals.accessor<double, 2>(), value = candidates.log_p.accessor<double, 2>();
  const auto item = candidates.item.accessor<std::int64_t, 2>();
  std::vector<std::int64_t> parent, chosen;
  std::vector<double> new_total, new_log_p;
  for (std::int64_t query = 0; query < n; ++query) {
    std::vector<std::pair<std::int64_t, std::int64_t>> order;
    for (std::int64_t b = query * width; b < (query + 1) * width; ++b) {
      for (std::int64_t i = 0; i < best; ++i) order.emplace_back(b, i);
    }
    std::partial_sort(order.begin(), order.begin() + width, order.end(), [&](const auto& x, const auto& y) {
      const double a = total[x.first][x.second], c = total[y.first][y.second];
      return a != c ? a > c : std::pair(x.first, item[x.first][x.second]) < std::pair(y.first, item[y.first][y.second]);
    });
    for (std::int64_t b = 0; b < width; ++b) {
      const auto [from, i] = order[to_index(b)];
      parent.push_back(from);
      chosen.push_back(item[from][i]);
      new_total.push_back(total[from][i]);
      new_log_p.push_back(value[from][i]);
    }
  }
  beams.from = rows_tensor(parent);
  beams.total = torch::tensor(new_total, torch::kFloat64);
  beams.items = torch::cat({beams.items.index_select(0, beams.from), rows_tensor(chosen).unsqueeze(1)}, 1);
  beams.log_p =
      torch::cat({beams.log_p.index_select(0, beams.from), torch::tensor(new_log_p, torch::kFloat64).unsqueeze(1)}, 1);
}

// The best sequence of every query, of all ranks' blocks.
void Selector::collect(const Beams& beams, const EmbeddingSet& queries, std::span<const std::int64_t> rows,
                       std::vector<Selection>& out) const {
  const torch::Tensor best = torch::arange(0, beams.total.size(0), beams.width);
  const auto of_all = [&](const torch::Tensor& mine) {
    return gather_rows(head_.group(), mine.index_select(0, best), kBlock, 0).contiguous();
  };
  const torch::Tensor totals = of_all(beams.total), all_items = of_all(beams.items), all_log_p = of_all(beams.log_p);
  const auto total = totals.accessor<double, 1>();
  const auto items = all_items.accessor<std::int64_t, 2>();
  const auto log_p = all_log_p.accessor<double, 2>();
  for (std::int64_t query = 0; query < static_cast<std::int64_t>(rows.size()); ++query) {
    if (total[query] == kNever) refuse(queries.id[to_index(rows[to_index(query)])]);
    Selection& selection = out.emplace_back();
    for (std::int64_t i = 0; i < options_.shots; ++i) {
      selection.rows.push_back(head_.library().rows()[to_index(items[query][i])]);
      selection.log_probabilities.push_back(log_p[query][i]);
    }
  }
}

// One block for each rank, or fewer: ranks without one serve the others with their shard.
void Selector::select_blocks(const EmbeddingSet& queries, const Features& query_features,
                             std::span<const std::int64_t> rows, std::vector<Selection>& out) {
  const std::int64_t width = options_.beam, height = kBlock * width;
  const std::int64_t blocks = ceil_div(static_cast<std::int64_t>(rows.size()), kBlock);
  std::vector<std::int64_t> padded(rows.begin(), rows.end());
  padded.resize(to_index(blocks * kBlock), rows.front());
  const std::int64_t mine = rank() < blocks ? kBlock : 0;
  const auto own = std::span(padded).subspan(mine > 0 ? to_index(rank() * kBlock) : 0, to_index(mine));
  torch::Tensor unusable = constraints_.unusable_at_first(queries, padded);
  require_enough(queries, padded, unusable);
  unusable = unusable.index_select(0, torch::arange(blocks * kBlock).repeat_interleave(width));
  const torch::Device device = keys_.device();
  const torch::Tensor of_query = torch::arange(mine).repeat_interleave(width);
  const QueryState state = model_->read(query_features.queries(own)).select(of_query.to(device));
  Beams beams(mine, width);
  torch::Tensor shots = torch::empty({mine * width, 0, keys_.size(1)}, keys_.options());
  const torch::Tensor first_of_block = (torch::arange(blocks) * height).repeat_interleave(height);
  for (std::int64_t position = 0; position < options_.shots; ++position) {
    const torch::Tensor z = model_->choose(state, shots).select(1, position).contiguous();
    extend(beams, best(gather_rows(head_.group(), z, height, 0).narrow(0, 0, blocks * height), unusable));
    if (position + 1 == options_.shots) break;
    const torch::Tensor chosen = beams.items.select(1, position).contiguous();
    const torch::Tensor steps = gather_rows(head_.group(), torch::stack({beams.from, chosen}, 1), height, 0);
    const torch::Tensor of_all = steps.narrow(0, 0, blocks * height);
    unusable = unusable.index_select(0, of_all.select(1, 0) + first_of_block);
    constraints_.add_chosen(unusable, of_all.select(1, 1).contiguous());
    const torch::Tensor next = head_.items(model_, chosen, keys_).unsqueeze(1);
    shots = torch::cat({shots.index_select(0, beams.from.to(device)), next}, 1);
  }
  collect(beams, queries, rows, out);
}

}  // namespace saber
