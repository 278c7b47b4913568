// Evaluations per second of the tiny LVLM in the demo's beam search: with prefixes used again against without, A B A B,
// medians, summed over ranks. The floor is the time that the arithmetic alone takes at the rate of a large matrix
// product measured in the same run.
//   mpirun -n 2 build/bench_score [config.yaml]     (default configs/demo.yaml)
#include <fmt/format.h>

#include "bench/measure.h"
#include "comm/process_group.h"
#include "core/narrow.h"
#include "launch/load_inputs.h"
#include "trainer/reward/tiny_lvlm_scorer.h"
#include "trainer/search/advance.h"

namespace saber {
namespace {

constexpr int kRounds = 5;
constexpr std::int64_t kQueries = 12;  // per rank and round

// Multiply-adds of one candidate in `extend`, times two: five new tokens in all blocks, in the last one only keys and
// values of all five and the rest of one; attention and softmax are left out (below 3 %).
double flops_per_evaluation() {
  const double d = DecoderImpl::kWidth, blocks = DecoderImpl::kBlocks;
  return 2 * d * d * ((blocks - 1) * 5 * 12 + 5 * 3 + 9) + 2 * d * 64;
}

void run(const MpiSession& session, const Settings& settings) {
  const EmbeddingSet set = load_embedding_set(session, settings.embeddings);
  TinyLvlm lvlm = load_tiny_lvlm(settings.scorer.weights);
  TinyLvlmScorer reusing(lvlm, set, true), plain(lvlm, set, false);
  const Similarity similarity(set);
  const std::vector<std::int64_t> rows = set.rows_of(Split::train);
  const auto evaluations_per_second = [&](Scorer& scorer) {
    std::int64_t evaluations = 0;
    session.barrier();
    const double seconds = seconds_of([&] {
      for (std::int64_t i = 0; i < kQueries; ++i) {
        const std::int64_t row = rows[to_index((session.rank() * kQueries + i) % size_of(rows))];
        const auto pool = candidate_pool(settings.score.pool, set, similarity, row);
        evaluations += run_search(scorer, BeamSearch(set, row, pool, settings.score.beam, settings.score.shots)).size();
      }
      session.barrier();
    });
    return static_cast<double>(evaluations) / seconds;
  };
  evaluations_per_second(plain);  // both scorers look at their pictures once
  evaluations_per_second(reusing);
  std::vector<double> with, without;
  for (int round = 0; round < kRounds; ++round) {
    with.push_back(evaluations_per_second(reusing));
    without.push_back(evaluations_per_second(plain));
  }
  const double ranks = session.world_size(), rate = matmul_rate(640, [&] { session.barrier(); });
  if (!session.is_root()) return;
  fmt::print("{} ranks, medians of {} rounds, {} queries each\n", session.world_size(), kRounds,
             kQueries * session.world_size());
  fmt::print("  prefixes used again    {:>10.0f} evaluations/s\n", ranks * median(with));
  fmt::print("  every sequence whole   {:>10.0f} evaluations/s\n", ranks * median(without));
  fmt::print("  ratio                  {:>10.2f}\n", median(with) / median(without));
  fmt::print("  floor: {:.2f} MFLOP per evaluation at {:.1f} GFLOP/s per rank: {:.0f} evaluations/s\n",
             flops_per_evaluation() / 1e6, rate / 1e9, ranks * rate / flops_per_evaluation());
}

}  // namespace
}  // namespace saber

int main(int argc, char** argv) {
  const saber::MpiSession session(&argc, &argv);
  saber::Settings settings;
  settings.schema.read_yaml(argc > 1 ? argv[1] : "configs/demo.yaml");
  at::set_num_threads(session.num_threads());
  saber::run(session, settings);
}
