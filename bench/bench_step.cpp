// Seconds of the training step: a SabER of 13 M parameters, listwise, global batches of 64 nodes. One JSON object a
// line: of each step its number, seconds and loss, and the floating-point operations of this rank's products; at the
// end the number of parameters and the rate of a large product. `bench/step` runs it against PyTorch's
// DistributedDataParallel.
//   mpirun -n 2 build/bench_step [--steps 25] [--precision float32] [--export FOLDER]
// --export: writes weights and batches for the other side (bench/step_problem.h) and measures nothing.
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "bench/measure.h"
#include "bench/step_problem.h"
#include "core/narrow.h"
#include "core/parse_number.h"
#include "launch/settings.h"
#include "trainer/trainer.h"

namespace saber {
namespace {

using Options = std::map<std::string, std::string>;

Options read_options(int argc, char** argv) {
  Options options{{"--steps", "25"}, {"--precision", "float32"}, {"--export", ""}};
  for (int i = 1; i < argc; i += 2) {
    if (!options.contains(argv[i]) || i + 1 == argc)
      throw_bad_input(fmt::format("unknown or without value: {}", argv[i]));
    options[argv[i]] = argv[i + 1];
  }
  return options;
}

void print_line(const MpiSession& session, const nlohmann::ordered_json& line) {
  if (session.is_root()) fmt::print("{}\n", line.dump());
}

// What the trainer refers to; settings and problem are the same on every rank.
struct Problem {
  Settings settings;
  EmbeddingSet set = step_data_set();
  std::vector<ScoreTree> trees{step_score_tree(set)};
  std::vector<std::string> places{"the benchmark's tree"};
  std::vector<StepNode> nodes = step_nodes(set, trees[0]);
  torch::ScalarType type;
  Features features;

  explicit Problem(const std::string& precision) : type(type_of(precision)), features(set, type) {
    settings.model.width = 384;
    settings.model.blocks = 3;
    settings.model.heads = 6;
    settings.train.stages = {"listwise 100 epochs"};
  }
  torch::ScalarType type_of(const std::string& precision) {
    settings.schema.assign("train.precision=" + precision);
    return precision == "float64" ? torch::kFloat64 : torch::kFloat32;
  }
  std::vector<Stage> stages() const { return make_stages(settings.train, 1, {set, features, trees, places}); }
  SaberModel model() const {
    SaberModel out(settings.model, features.widths(), 1);
    out->to(type);
    return out;
  }
};

void measure(const MpiSession& session, const Problem& problem, std::int64_t steps) {
  const ProcessGroupPtr group = make_process_group(session, problem.settings.comm);
  StepOptions step_options;
  step_options.bf16 = problem.settings.train.precision == "bf16";
  Trainer trainer(problem.model(), problem.stages(), *group, step_options);
  for (std::int64_t i = 0; i < steps; ++i) {
    StepReport report;
    const double seconds = seconds_of([&] { report = trainer.step(); });
    const Slice mine = slice_of_rank(size_of(report.units), session.rank(), session.world_size());
    const auto units = std::span<const std::int64_t>(report.units).subspan(to_index(mine.begin), to_index(mine.size()));
    print_line(session,
               {{"step", report.step},
                {"seconds", seconds},
                {"loss", report.loss},
                {"flops", step_flops(problem.settings.model, problem.features.widths(), units, problem.nodes)}});
  }
  const auto ready = [&] { session.barrier(); };
  print_line(session, {{"parameters", trainer.parameters().num_parameters()},
                       {"float32_flops_per_second", matmul_rate(1024, ready)},
                       {"bfloat16_flops_per_second", matmul_rate(1024, ready, torch::kBFloat16)}});
}

void run(const MpiSession& session, const Options& options) {
  std::int64_t steps = 0;
  if (!parse_number(options.at("--steps"), steps) || steps < 1) throw_bad_input("--steps wants a number from 1");
  const Problem problem(options.at("--precision"));
  const std::string& folder = options.at("--export");
  if (folder.empty()) return measure(session, problem, steps);
  if (!session.is_root()) return;
  export_problem(folder, problem.model(), problem.stages()[0], problem.settings.train.listwise_temperature, problem.set,
                 problem.nodes, steps);
}

}  // namespace
}  // namespace saber

int main(int argc, char** argv) {
  const saber::MpiSession session(&argc, &argv);
  try {
    at::set_num_threads(session.num_threads());
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);  // as `saber train` does
    at::globalContext().setDeterministicFillUninitializedMemory(false);
    saber::run(session, saber::read_options(argc, argv));
  } catch (const saber::Error& error) {  // the options, before anything collective: all ranks alike
    if (session.is_root()) fmt::print(stderr, "bench_step: {}\n", error.what());
    return error.exit_status();
  }
}
