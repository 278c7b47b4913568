#include "trainer/search/sample.h"

#include <limits>

#include "core/narrow.h"
#include "core/random.h"

namespace saber {
namespace {

// Gumbel noise of one position, float64 [draws, K].
torch::Tensor gumbel_noise(const Library& library, const std::vector<Draw>& draws, const DrawSettings& settings,
                           std::int64_t position) {
  torch::Tensor uniform = torch::empty({size_of(draws), library.size()}, torch::kFloat64);
  double* out = uniform.data_ptr<double>();
  for (const Draw& draw : draws) {
    const std::int64_t query = library.set().id[index_of(draw.query_row)];
    const RandomStream stream(settings.seed, "sample", {settings.step, query, draw.number, position});
    for (std::int64_t item = 0; item < library.size(); ++item) {
      *out++ = stream.uniform_at(static_cast<std::uint64_t>(library.id(item)));
    }
  }
  return uniform.log_().neg_().log_().neg_();
}

}  // namespace

torch::Tensor sample_sequences(SaberModel& model, const Library& library, const Features& features,
                               const torch::Tensor& keys, const std::vector<Draw>& draws,
                               const DrawSettings& settings) {
  const torch::NoGradGuard no_grad;
  std::vector<std::int64_t> rows, place;  // each query once; of every draw
  for (const Draw& draw : draws) {
    if (rows.empty() || rows.back() != draw.query_row) rows.push_back(draw.query_row);
    place.push_back(size_of(rows) - 1);
  }
  const torch::Tensor of_draw = rows_tensor(place);
  const QueryState queries = model->read(features.queries(rows)).select(of_draw);
  torch::Tensor unusable = library.own_pictures(library.set(), rows).index_select(0, of_draw);
  torch::Tensor shots = torch::empty({size_of(draws), 0, keys.size(1)}, keys.options());
  std::vector<torch::Tensor> items;
  for (std::int64_t position = 0; position < settings.shots; ++position) {
    const torch::Tensor logits = torch::matmul(model->choose(queries, shots).select(1, position), keys.t());
    const torch::Tensor noisy = logits.to(torch::kFloat64) + gumbel_noise(library, draws, settings, position);
    const torch::Tensor item = noisy.masked_fill(unusable, -std::numeric_limits<double>::infinity()).argmax(1);
    items.push_back(item);
    unusable.scatter_(1, item.unsqueeze(1), true);
    shots = torch::cat({shots, keys.index_select(0, item).unsqueeze(1)}, 1);
  }
  return torch::stack(items, 1);
}

}  // namespace saber
