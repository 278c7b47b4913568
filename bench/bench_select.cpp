// Queries per second of selection in one process: greedy against a beam of 3, A B A B, medians. An untrained SabER of
// the configured size chooses from the configured library. The floor is the arithmetic of reading every token once, at
// the rate of a large matrix product measured in the same run.
//   build/bench_select [config.yaml]     (default configs/demo.yaml)
#include <fmt/format.h>

#include "bench/measure.h"
#include "core/narrow.h"
#include "launch/load_inputs.h"
#include "trainer/search/selector.h"

namespace saber {
namespace {

constexpr int kRounds = 5;
constexpr std::int64_t kQueries = 1024;

// Multiply-adds, times two, of one query: the guider's MLP; every token once through blocks (12 d^2), guider updates
// (3 d^2) and masks (2 d^2); head and library softmax at every position.
double flops_per_query(const ModelSettings& model, const EmbeddingWidths& widths, double library, double shots) {
  const auto d = static_cast<double>(model.width), blocks = static_cast<double>(model.blocks);
  const auto inputs = static_cast<double>(widths.image + 2 * widths.text);
  return 2 * (4 * d * inputs + 4 * d * d + (shots + 1) * blocks * 17 * d * d + shots * (2 * d * d + library * d));
}

void run(const Settings& settings) {
  const EmbeddingSet set = read_embedding_set(settings.embeddings);
  const Features features(set, torch::kFloat32);
  SaberModel model(settings.model, features.widths(), 1);
  std::vector<std::int64_t> rows;
  const std::vector<std::int64_t> test = set.rows_of(Split::test);
  for (std::int64_t i = 0; i < kQueries; ++i) rows.push_back(test[to_index(i % size_of(test))]);
  SelectOptions greedy, beam;
  beam.beam = 3;
  const Library library(set);
  const LibraryHead head(library, features, {});
  Selector greedy_selector(model, head, greedy), beam_selector(model, head, beam);
  const auto rate_of = [&](Selector& selector) {
    return static_cast<double>(kQueries) / seconds_of([&] { selector.select(set, features, rows); });
  };
  rate_of(greedy_selector);
  rate_of(beam_selector);
  std::vector<double> greedy_rates, beam_rates;
  for (int round = 0; round < kRounds; ++round) {
    greedy_rates.push_back(rate_of(greedy_selector));
    beam_rates.push_back(rate_of(beam_selector));
  }
  const double flops = flops_per_query(settings.model, features.widths(), static_cast<double>(library.size()),
                                       static_cast<double>(greedy.shots));
  const double rate = matmul_rate(1024);
  fmt::print("library of {}, {} shots, {} threads, medians of {} rounds of {} queries\n", library.size(), greedy.shots,
             at::get_num_threads(), kRounds, kQueries);
  fmt::print("  greedy       {:>8.0f} queries/s\n", median(greedy_rates));
  fmt::print("  beam of 3    {:>8.0f} queries/s\n", median(beam_rates));
  fmt::print("  ratio        {:>8.2f}\n", median(greedy_rates) / median(beam_rates));
  fmt::print("  floor: {:.1f} MFLOP per greedy query at {:.1f} GFLOP/s: {:.0f} queries/s\n", flops / 1e6, rate / 1e9,
             rate / flops);
}

}  // namespace
}  // namespace saber

int main(int argc, char** argv) {
  saber::Settings settings;
  settings.schema.read_yaml(argc > 1 ? argv[1] : "configs/demo.yaml");
  saber::run(settings);
}
