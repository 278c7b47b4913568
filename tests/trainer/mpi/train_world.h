// Training on several ranks, and beside it one process that takes the whole global batch: plain autograd, LibTorch's
// own AdamW, nothing of FlatParameters, AdamW or Trainer.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/hash.h"
#include "core/narrow.h"
#include "tests/comm/mpi_world.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/fake_scorer.h"
#include "tests/support/small_world.h"
#include "trainer/trainer.h"

namespace saber::test {

using Units = std::vector<std::int64_t>;

inline constexpr std::uint64_t kSeed = 5;
inline constexpr std::int64_t kSteps = 100;

// Stages as in "listwise 20 epochs"; the same learning settings for all.
inline TrainSettings settings_for(const std::vector<std::string>& stages) {
  TrainSettings settings;
  settings.stages = stages;
  settings.listwise_temperature = settings.imitate_temperature = 0.3;
  for (LearningSettings* learning : {&settings.listwise, &settings.imitate, &settings.reinforce}) {
    learning->optimiser = {3e-3, "cosine", 5, 0.05, 0.5};
    learning->batch_size = 7;  // no multiple of any world size
  }
  settings.reinforce.batch_size = 3;
  settings.sampling = {5, 3, 0.1};  // 15 samples a step: groups are spread over 2 ranks
  return settings;
}

// A reward that differs for every sequence and order; some sequences fail.
inline std::optional<double> reward_of(const DemonstrationSequence& sequence) {
  double value = 0.01 * static_cast<double>(sequence.query);
  for (std::size_t i = 0; i < sequence.shots.size(); ++i)
    value += std::sin(static_cast<double>(sequence.shots[i] * (static_cast<std::int64_t>(i) + 2)));
  return sequence.shots.back() % 6 == 0 ? std::nullopt : std::optional(value);
}

// What every rank has for itself: data, tree, and models of the same initial weights.
struct World {
  torch::ScalarType type;
  torch::Device device;
  TrainSettings settings;
  ModelSettings model_settings;
  EmbeddingSet set;
  std::vector<ScoreTree> trees = {test::small_tree(set)};
  std::vector<std::string> places = {"tree"};
  Features features;
  test::FakeScorer scorer{reward_of};
  StepOptions options;
  HeadOptions head;
  // Tensors on pretend_gpu(), whose kernels are the CPU's, need no group of their own.
  ProcessGroupPtr group = make_process_group(mpi_world(), {}, device.is_cuda() ? device : torch::kCPU);

  // sharded: this rank holds its share of the library only, and logits come in chunks of a few items.
  World(const std::vector<std::string>& stages, torch::ScalarType scalar_type, bool sharded = false,
        torch::Device of_model = torch::kCPU)
      : type(scalar_type),
        device(of_model),
        settings(settings_for(stages)),
        set(sharded ? test::share_of(test::small_set(), mpi_world().rank(), mpi_world().world_size())
                    : test::small_set()),
        features(set, scalar_type, of_model) {
    model_settings.width = 16;
    if (sharded) head = {group.get(), 2000};
  }
  SaberModel model(std::uint64_t seed = kSeed) const {
    SaberModel out(model_settings, features.widths(), seed);
    out->to(device, type);
    return out;
  }
  std::vector<Stage> stages() { return make_stages(settings, kSeed, {set, features, trees, places, &scorer, head}); }
  Trainer trainer(SaberModel model) { return {std::move(model), stages(), *group, options}; }
};

class Reference {
 public:
  // loss: mean of the global batch; default: that of the first stage's objective.
  using Loss = std::function<torch::Tensor(SaberModel&, const Units& units, std::int64_t step)>;
  explicit Reference(World& world, Loss loss = nullptr)
      : stage_(world.stages().front()),
        loss_(std::move(loss)),
        model_(world.model()),
        optimiser_(model_->parameters(), torch::optim::AdamWOptions(1e-3).weight_decay(stage_.optimiser.weight_decay)) {
    if (loss_) return;
    loss_ = [this](SaberModel& model, const Units& units, std::int64_t) {
      return stage_.objective->loss_sum(model, units) / static_cast<double>(units.size());
    };
  }

  SaberModel& model() { return model_; }
  Units units(std::int64_t step) const { return stage_.plan.batch(step); }
  double step(std::int64_t step) {
    optimiser_.zero_grad(/*set_to_none=*/false);
    const torch::Tensor loss = loss_(model_, units(step), step);
    loss.backward();
    torch::Tensor squares = torch::zeros({}, loss.scalar_type());
    for (torch::Tensor& p : model_->parameters()) {
      if (!p.grad().defined()) p.mutable_grad() = torch::zeros_like(p);
      squares += p.grad().square().sum();
    }
    const double norm = squares.sqrt().item<double>(), clip = stage_.optimiser.clip;
    if (norm > clip) {
      for (torch::Tensor& p : model_->parameters()) p.mutable_grad().mul_(clip / norm);
    }
    auto& group = optimiser_.param_groups().front();
    static_cast<torch::optim::AdamWOptions&>(group.options())
        .lr(learning_rate(stage_.optimiser, step, stage_.num_steps));
    optimiser_.step();
    return loss.item<double>();
  }

 private:
  Stage stage_;
  Loss loss_;
  SaberModel model_;
  torch::optim::AdamW optimiser_;
};

inline void copy_weights(SaberModel& from, SaberModel& to) {
  const torch::NoGradGuard no_grad;
  for (const auto& item : from->named_parameters()) to->named_parameters()[item.key()].copy_(item.value());
}

inline double largest_gradient_difference(SaberModel a, SaberModel b) {
  double out = 0;
  const auto first = a->parameters(), second = b->parameters();
  for (std::size_t i = 0; i < first.size(); ++i) {
    out = std::max(out, (first[i].grad() - second[i].grad()).abs().max().item<double>());
  }
  return out;
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

// Rank 0 saves the trainer's state below `folder`; returns the run folder to all ranks.
inline std::string save_run(Trainer& trainer, const std::filesystem::path& folder) {
  return mpi_world().on_root([&] {
    Checkpoint checkpoint;
    checkpoint.state.step = trainer.steps_done();
    checkpoint.model = trainer.model_tensors();
    checkpoint.optimizer = trainer.optimiser_tensors();
    save_checkpoint(folder / "run", checkpoint, 2);
    return (folder / "run").string();
  });
}

// Trains `total` steps in one go, and again with a checkpoint after `stop` steps from which other weights go on:
// losses, weights and optimiser are the same bits. at_stop looks at the trainer when it is saved.
inline void expect_resume_is_exact(World& world, std::int64_t total, std::int64_t stop, const std::string& label,
                                   const std::function<void(Trainer&)>& at_stop = nullptr) {
  Trainer unbroken = world.trainer(world.model());
  Replay whole, first, second;
  whole.go(unbroken, total);

  Trainer broken = world.trainer(world.model());
  first.go(broken, stop);
  if (at_stop) at_stop(broken);
  const testing_data::TemporaryFolder folder;
  const std::string run = save_run(broken, folder / "saved");
  Trainer restored = world.trainer(world.model(kSeed + 1));
  restored.restore(load_newest_checkpoint(run).value());
  EXPECT_EQ(restored.steps_done(), stop) << label;
  second.go(restored, total - stop);
  first.losses.insert(first.losses.end(), second.losses.begin(), second.losses.end());
  EXPECT_EQ(first.losses, whole.losses) << label;
  EXPECT_EQ(second.state, whole.state) << label;
  mpi_world().barrier();  // rank 0's folder goes last
}

}  // namespace saber::test
