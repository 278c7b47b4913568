// Data parallel training against one process that takes the whole global batch: plain autograd, LibTorch's own AdamW.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "core/hash.h"
#include "core/narrow.h"
#include "data/sampling_plan.h"
#include "tests/comm/mpi_world.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/small_world.h"
#include "trainer/train_step.h"

namespace saber {
namespace {

using test::mpi_world;
using Units = std::vector<std::int64_t>;

constexpr std::uint64_t kSeed = 5;
constexpr std::int64_t kSteps = 50;

TrainSettings settings_for(const std::string& objective) {
  TrainSettings settings;
  settings.objective.kind = objective;
  settings.objective.temperature = settings.objective.imitate_temperature = 0.3;
  settings.optimiser.rate = 3e-3;
  settings.optimiser.schedule = "cosine";
  settings.optimiser.warmup_steps = 5;
  settings.optimiser.weight_decay = 0.05;
  settings.optimiser.clip = 0.5;
  settings.epochs = 20;
  settings.batch_size = 7;  // no multiple of any world size
  return settings;
}

// What every rank has for itself: data, tree, objective, and models of the same initial weights.
struct World {
  torch::ScalarType type;
  TrainSettings settings;
  EmbeddingSet set = test::small_set();
  ScoreTree tree = test::small_tree(set);
  Features features;
  std::unique_ptr<Objective> objective;
  ProcessGroupPtr group = make_process_group(mpi_world(), {"mpi"});

  World(const std::string& kind, torch::ScalarType scalar_type)
      : type(scalar_type), settings(settings_for(kind)), features(set, scalar_type) {
    objective = make_objective(settings.objective, set, features, {tree}, {"tree"});
  }
  SaberModel model(std::uint64_t seed = kSeed) const {
    ModelSettings model_settings;
    model_settings.width = 16;
    SaberModel out(model_settings, features.widths(), seed);
    out->to(type);
    return out;
  }
  Trainer trainer(SaberModel model) const { return {settings, kSeed, std::move(model), *objective, *group}; }
};

// One process, the whole batch, nothing of FlatParameters, AdamW or Trainer.
class Reference {
 public:
  explicit Reference(const World& world)
      : world_(world),
        model_(world.model()),
        optimiser_(model_->parameters(),
                   torch::optim::AdamWOptions(1e-3).weight_decay(world.settings.optimiser.weight_decay)),
        plan_(world.objective->groups(), world.settings.batch_size, kSeed) {}

  const SaberModel& model() const { return model_; }
  Units units(std::int64_t step) const { return plan_.batch(step); }
  double step(std::int64_t step) {
    const Units batch = units(step);
    optimiser_.zero_grad(/*set_to_none=*/false);
    const torch::Tensor loss = world_.objective->loss_sum(model_, batch) / static_cast<double>(batch.size());
    loss.backward();
    torch::Tensor squares = torch::zeros({}, world_.type);
    for (torch::Tensor& p : model_->parameters()) {
      if (!p.grad().defined()) p.mutable_grad() = torch::zeros_like(p);
      squares += p.grad().square().sum();
    }
    const double norm = squares.sqrt().item<double>(), clip = world_.settings.optimiser.clip;
    if (norm > clip) {
      for (torch::Tensor& p : model_->parameters()) p.mutable_grad().mul_(clip / norm);
    }
    const std::int64_t total = world_.settings.epochs * plan_.batches_per_epoch();
    auto& group = optimiser_.param_groups().front();
    static_cast<torch::optim::AdamWOptions&>(group.options()).lr(learning_rate(world_.settings.optimiser, step, total));
    optimiser_.step();
    return loss.item<double>();
  }

 private:
  const World& world_;
  SaberModel model_;
  torch::optim::AdamW optimiser_;
  SamplingPlan plan_;
};

double largest_gradient_difference(SaberModel a, SaberModel b) {
  double out = 0;
  const auto first = a->parameters(), second = b->parameters();
  for (std::size_t i = 0; i < first.size(); ++i) {
    out = std::max(out, (first[i].grad() - second[i].grad()).abs().max().item<double>());
  }
  return out;
}

void expect_equal_to_reference(const std::string& kind, torch::ScalarType type, double tolerance) {
  const World world(kind, type);
  Reference reference(world);
  Trainer trainer = world.trainer(world.model());
  ASSERT_GE(trainer.total_steps(), kSteps);
  double first_loss = 0, last_loss = 0;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const StepReport report = trainer.step();
    EXPECT_EQ(report.step, step + 1);
    EXPECT_EQ(report.units, reference.units(step)) << "the batches do not depend on the number of ranks";
    const double wanted = reference.step(step);
    ASSERT_NEAR(report.loss, wanted, tolerance) << kind << " step " << step;
    ASSERT_LT(largest_gradient_difference(trainer.model(), reference.model()), tolerance) << kind << " step " << step;
    (step < 10 ? first_loss : last_loss) = report.loss;
  }
  EXPECT_NE(first_loss, last_loss);
}

TEST(TrainRanks, ListwiseInFloat64EqualsOneProcess) {
  expect_equal_to_reference("listwise", torch::kFloat64, 1e-10);
}

TEST(TrainRanks, ImitateInFloat64EqualsOneProcess) {
  expect_equal_to_reference("imitate", torch::kFloat64, 1e-10);
}

TEST(TrainRanks, Float32EqualsOneProcess) {
  expect_equal_to_reference("listwise", torch::kFloat32, 1e-4);
}

// Weights and moments, and the losses on the way.
struct Replay {
  std::vector<double> losses;
  std::string state;

  void go(Trainer& trainer, std::int64_t steps) {
    for (std::int64_t i = 0; i < steps; ++i) losses.push_back(trainer.step().loss);
    NamedTensors tensors = trainer.model_tensors();
    tensors.merge(trainer.optimiser_tensors());
    state = hash128_hex(to_safetensors(tensors, {}));
  }
};

TEST(TrainRanks, AllRanksHoldTheSameBits) {
  const World world("listwise", torch::kFloat32);
  Trainer trainer = world.trainer(world.model());
  Replay run;
  run.go(trainer, 20);
  const std::vector<char> mine(run.state.begin(), run.state.end());
  for (const auto& theirs : all_gather_values(*world.group, mine)) EXPECT_EQ(theirs, mine);
}

TEST(TrainRanks, InitialWeightsAreThoseOfRankZero) {
  const World world("listwise", torch::kFloat32);
  SaberModel model = world.model();
  if (!mpi_world().is_root()) {
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& p : model->parameters()) p.add_(1);
  }
  Trainer trainer = world.trainer(model);
  SaberModel wanted = world.model();
  for (std::size_t i = 0; i < wanted->parameters().size(); ++i) {
    EXPECT_TRUE(torch::equal(trainer.model()->parameters()[i], wanted->parameters()[i]));
  }
}

TEST(TrainRanks, ABatchSmallerThanTheWorldLeavesRanksIdleButEqual) {
  World world("listwise", torch::kFloat64);
  world.settings.batch_size = 1;
  Reference reference(world);
  Trainer trainer = world.trainer(world.model());
  for (std::int64_t step = 0; step < 5; ++step) EXPECT_NEAR(trainer.step().loss, reference.step(step), 1e-10);
}

TEST(TrainRanks, ARestoredRunEqualsTheUnbrokenOneBitForBit) {
  for (const std::string kind : {"listwise", "imitate"}) {
    const World world(kind, torch::kFloat32);
    Trainer unbroken = world.trainer(world.model());
    Replay whole, first, second;
    whole.go(unbroken, 24);

    Trainer broken = world.trainer(world.model());
    first.go(broken, 11);
    const testing_data::TemporaryFolder folder;
    const std::string run = mpi_world().on_root([&] {
      Checkpoint checkpoint;
      checkpoint.state.step = broken.steps_done();
      checkpoint.model = broken.model_tensors();
      checkpoint.optimizer = broken.optimiser_tensors();
      save_checkpoint(folder / "run", checkpoint, 2);
      return (folder / "run").string();
    });
    Trainer restored = world.trainer(world.model(kSeed + 1));
    restored.restore(load_newest_checkpoint(run).value());
    EXPECT_EQ(restored.steps_done(), 11);
    second.go(restored, 13);
    first.losses.insert(first.losses.end(), second.losses.begin(), second.losses.end());
    EXPECT_EQ(first.losses, whole.losses) << kind;
    EXPECT_EQ(second.state, whole.state) << kind;
    mpi_world().barrier();  // rank 0's folder goes last
  }
}

TEST(TrainRanks, ALossThatIsNoNumberStopsAllRanks) {
  const World world("listwise", torch::kFloat32);
  Trainer trainer = world.trainer(world.model());
  trainer.step();
  {
    const torch::NoGradGuard no_grad;
    trainer.model()->named_parameters()["log_scale"].fill_(std::nan(""));
  }
  testing_data::expect_error(ErrorKind::internal, {"step 2", "nan", "train.learning_rate"}, [&] { trainer.step(); });
}

}  // namespace
}  // namespace saber
