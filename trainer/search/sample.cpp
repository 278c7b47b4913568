#include "trainer/search/sample.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/narrow.h"
#include "core/random.h"

namespace saber {
namespace {

constexpr double kOut = -std::numeric_limits<double>::infinity();

// The draws of all ranks that the shard serves; query_row -1 pads.
std::vector<Draw> served_draws(const LibraryHead& head, const std::vector<Draw>& mine, std::int64_t longest) {
  torch::Tensor table = torch::empty({size_of(mine), 2}, torch::kInt64);
  for (std::int64_t i = 0; i < size_of(mine); ++i) {
    table[i][0] = mine[to_index(i)].query_row;
    table[i][1] = mine[to_index(i)].number;
  }
  const torch::Tensor all = gather_rows(head.group(), table, longest, -1).contiguous();
  const auto values = all.accessor<std::int64_t, 2>();
  std::vector<Draw> draws;
  for (std::int64_t i = 0; i < all.size(0); ++i) draws.push_back({values[i][0], values[i][1]});
  return draws;
}

// Gumbel noise of one position over items [begin, end), float64 [draws, items]. On the CPU: the same bits everywhere.
torch::Tensor gumbel_noise(const Library& library, const std::vector<Draw>& draws, const DrawSettings& settings,
                           std::int64_t position, Slice items) {
  torch::Tensor uniform = torch::full({size_of(draws), items.size()}, 0.5, torch::kFloat64);
  double* out = uniform.data_ptr<double>();
  for (const Draw& draw : draws) {
    double* const end = out + items.size();
    if (draw.query_row >= 0) {
      const std::int64_t query = library.set().id[to_index(draw.query_row)];
      const RandomStream stream(settings.seed, "sample", {settings.step, query, draw.number, position});
      for (std::int64_t item = items.begin; item < items.end; ++item)
        out[item - items.begin] = stream.uniform_at(static_cast<std::uint64_t>(library.id(item)));
    }
    out = end;
  }
  return uniform.log_().neg_().log_().neg_();
}

// The item of largest logit plus noise of every draw, int64 [draws]: first over the shard, then over the ranks.
torch::Tensor best_items(const LibraryHead& head, const torch::Tensor& z, const torch::Tensor& keys,
                         const torch::Tensor& unusable, const std::vector<Draw>& draws, const DrawSettings& settings,
                         std::int64_t position) {
  const std::int64_t rows = size_of(draws), items = keys.size(0);
  const std::int64_t row_bytes = rows * static_cast<std::int64_t>(sizeof(double));
  const std::int64_t chunk = std::max<std::int64_t>(1, head.max_logit_bytes() / std::max<std::int64_t>(1, row_bytes));
  torch::Tensor value = torch::full({rows}, kOut, z.options().dtype(torch::kFloat64));
  torch::Tensor item = torch::zeros({rows}, z.options().dtype(torch::kInt64));
  for (std::int64_t begin = 0; begin < items; begin += chunk) {
    const std::int64_t size = std::min(chunk, items - begin), first = head.shard().begin + begin;
    const torch::Tensor logits = torch::matmul(z, keys.narrow(0, begin, size).t()).to(torch::kFloat64);
    const torch::Tensor noise = gumbel_noise(head.library(), draws, settings, position, {first, first + size});
    const auto [most, index] =
        (logits + noise.to(logits.device())).masked_fill_(unusable.narrow(1, begin, size), kOut).max(1);
    const torch::Tensor better = most > value;
    value = torch::where(better, most, value);
    item = torch::where(better, index + first, item);
  }
  if (!head.sharded()) return item;
  const std::int64_t world = head.group()->getSize();
  const torch::Tensor values = gather_rows(head.group(), value, rows, 0).view({world, rows});
  const torch::Tensor of_ranks = gather_rows(head.group(), item, rows, 0).view({world, rows});
  return of_ranks.gather(0, values.argmax(0, /*keepdim=*/true)).squeeze(0);
}

}  // namespace

torch::Tensor sample_sequences(SaberModel& model, const LibraryHead& head, const Features& features,
                               const torch::Tensor& keys, const std::vector<Draw>& draws,
                               const DrawSettings& settings) {
  const torch::NoGradGuard no_grad;
  std::vector<std::int64_t> rows, query_of_draw;  // each query once; number of every draw's
  for (const Draw& draw : draws) {
    if (rows.empty() || rows.back() != draw.query_row) rows.push_back(draw.query_row);
    query_of_draw.push_back(size_of(rows) - 1);
  }
  const std::int64_t mine = size_of(draws), longest = largest_of_ranks(head.group(), mine);
  const std::int64_t begin = head.sharded() ? head.group()->getRank() * longest : 0;
  const std::vector<Draw> served = served_draws(head, draws, longest);
  const torch::Device device = keys.device();
  std::vector<std::int64_t> served_rows;
  for (const Draw& draw : served) served_rows.push_back(draw.query_row);
  torch::Tensor unusable = head.library().own_pictures(head.library().set(), served_rows, head.shard()).to(device);
  torch::Tensor shots = torch::empty({mine, 0, keys.size(1)}, keys.options());
  const QueryState queries = model->read(features.queries(rows)).select(rows_tensor(query_of_draw).to(device));
  std::vector<torch::Tensor> items;
  for (std::int64_t position = 0; position < settings.shots; ++position) {
    const torch::Tensor z = gather_rows(head.group(), model->choose(queries, shots).select(1, position), longest, 0);
    const torch::Tensor chosen = best_items(head, z, keys, unusable, served, settings, position);
    exclude_chosen(unusable, chosen, head.shard());
    items.push_back(chosen.narrow(0, begin, mine).cpu());
    shots = torch::cat({shots, head.items(model, items.back(), keys).unsqueeze(1)}, 1);
  }
  return torch::stack(items, 1);
}

}  // namespace saber
