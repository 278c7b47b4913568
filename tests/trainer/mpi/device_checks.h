// What another device computes against what the CPU computes.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/small_scenes.h"
#include "tests/trainer/mpi/train_world.h"
#include "trainer/lvlm/lvlm_training.h"
#include "trainer/reward/tiny_lvlm_scorer.h"
#include "trainer/search/advance.h"
#include "trainer/search/selector.h"

namespace saber::test {

inline double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.cpu() - b.cpu()).abs().max().item<double>();
}

inline void expect_equal_weights(Trainer& a, Trainer& b, double tolerance, const std::string& label) {
  const NamedTensors of_b = b.model_tensors();
  for (const auto& [name, tensor] : a.model_tensors())
    EXPECT_LT(largest_difference(tensor, of_b.at(name)), tolerance) << label << ", " << name;
}

// Stages one after the other, both halves of a run whose checkpoint goes from the device to the CPU.
inline void expect_equal_training(const torch::Device& device, bool sharded) {
  const std::vector<std::string> stages = {"listwise 3 steps", "imitate 3 steps", "reinforce 3 steps"};
  World here(stages, torch::kFloat64, sharded), there(stages, torch::kFloat64, sharded, device);
  here.options.check_weights_every = there.options.check_weights_every = 4;
  here.options.micro_batch = there.options.micro_batch = 3;
  Trainer on_cpu = here.trainer(here.model()), on_device = there.trainer(there.model());
  const std::string label = sharded ? "sharded" : "replicated";
  for (std::int64_t step = 0; step < 8; ++step) {
    const StepReport wanted = on_cpu.step(), found = on_device.step();
    EXPECT_NEAR(found.loss, wanted.loss, 1e-8) << label << ", step " << step;
    EXPECT_NEAR(found.gradient_norm, wanted.gradient_norm, 1e-8) << label << ", step " << step;
  }
  for (const auto& [name, tensor] : on_device.model_tensors()) EXPECT_EQ(tensor.device(), device) << name;
  expect_equal_weights(on_cpu, on_device, 1e-8, label);

  const testing_data::TemporaryFolder folder;
  const std::string run = save_run(on_device, folder / "saved");
  Trainer moved = here.trainer(here.model(kSeed + 1));
  moved.restore(load_newest_checkpoint(run).value());
  EXPECT_NEAR(moved.step().loss, on_cpu.step().loss, 1e-8) << label << ", moved to the CPU";
  mpi_world().barrier();  // rank 0's folder goes last
}

inline EmbeddingSet set_with_pictures() {
  SmallSetSizes sizes;
  sizes.library = 90;  // more rows than one block of pictures
  sizes.picture_size = 8;
  return small_set(sizes);
}

inline TinyLvlm lvlm_on(const torch::Device& device) {
  torch::manual_seed(11);
  TinyLvlm lvlm(8, 8, std::vector<std::string>{"w0", "w1", "w2", "w3", "w4"});
  lvlm->to(device);
  return lvlm;
}

inline void expect_equal_scores(const torch::Device& device) {
  const EmbeddingSet set = set_with_pictures();
  TinyLvlm on_cpu = lvlm_on(torch::kCPU), on_device = lvlm_on(device);
  EXPECT_EQ(fingerprint_of(on_cpu), fingerprint_of(on_device));
  TinyLvlmScorer here(on_cpu, set), there(on_device, set);
  const std::vector<std::int64_t> library = set.rows_of(Split::library), pool(library.begin(), library.begin() + 12);
  for (const std::int64_t query : set.rows_of(Split::train)) {
    const QueryNodes wanted = run_search(here, BeamSearch(set, query, pool, 3, 3));
    const QueryNodes found = run_search(there, BeamSearch(set, query, pool, 3, 3));
    ASSERT_EQ(found.demonstration, wanted.demonstration);
    for (std::size_t i = 0; i < wanted.reward.size(); ++i) EXPECT_NEAR(found.reward[i], wanted.reward[i], 1e-4);
  }
  const std::vector<float> wanted = embed_pictures(on_cpu, set.pixels, set.num_rows);
  const std::vector<float> found = embed_pictures(on_device, set.pixels, set.num_rows);
  for (std::size_t i = 0; i < wanted.size(); ++i) ASSERT_NEAR(found[i], wanted[i], 1e-4);
}

inline void expect_equal_selections(const torch::Device& device, bool sharded) {
  World here({"listwise 1 epochs"}, torch::kFloat32), there({"listwise 1 epochs"}, torch::kFloat32, sharded, device);
  SelectOptions options;
  options.shots = 3;
  options.beam = 2;
  options.same_task = options.distinct_pictures = options.distinct_answers = true;
  options.excluded = {here.set.id[to_index(here.set.rows_of(Split::library)[1])]};
  const std::vector<std::int64_t> rows = here.set.rows_of(Split::train);
  const auto select = [&](World& world) {
    const Library library(world.set);
    const LibraryHead head(library, world.features, world.head);
    return Selector(world.model(), head, options).select(world.set, world.features, rows);
  };
  const auto wanted = select(here), found = select(there);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(found[i].rows, wanted[i].rows);
    for (std::size_t k = 0; k < 3; ++k)
      EXPECT_NEAR(found[i].log_probabilities[k], wanted[i].log_probabilities[k], 1e-5);
  }
}

// The tiny LVLM's training is float32, and its first updates do little but follow the gradients' signs: single weights
// may part.
inline void expect_like_lvlm_training(const torch::Device& device) {
  LvlmTrainSettings settings;
  settings.seed = 1;
  settings.tower_steps = settings.steps = 4;
  settings.shots = 2;
  const SceneSet scenes = small_scenes();
  TinyLvlm wanted = train_tiny_lvlm(settings, scenes), found = train_tiny_lvlm(settings, scenes, device);
  const auto of_found = found->named_parameters();
  for (const auto& item : wanted->named_parameters()) {
    const torch::Tensor& parameter = of_found[item.key()];
    EXPECT_EQ(parameter.device(), device) << item.key();
    EXPECT_LT((parameter.cpu() - item.value()).abs().mean().item<double>(), 2e-4) << item.key();
  }
}

}  // namespace saber::test
