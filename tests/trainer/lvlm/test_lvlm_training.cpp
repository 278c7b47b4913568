#include "trainer/lvlm/lvlm_training.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/small_scenes.h"

namespace saber {
namespace {

LvlmTrainSettings short_training(std::int64_t seed) {
  LvlmTrainSettings settings;
  settings.seed = seed;
  settings.tower_steps = 3;
  settings.steps = 3;
  settings.shots = 2;
  return settings;
}

TEST(LvlmTraining, TwoRunsGiveEqualBits) {
  const SceneSet scenes = test::small_scenes();
  TinyLvlm first = train_tiny_lvlm(short_training(1), scenes);
  torch::manual_seed(99);  // what other code drew before does not matter
  torch::rand({7});
  TinyLvlm again = train_tiny_lvlm(short_training(1), scenes), other = train_tiny_lvlm(short_training(2), scenes);
  EXPECT_EQ(fingerprint_of(first), fingerprint_of(again));
  EXPECT_NE(fingerprint_of(first), fingerprint_of(other));
}

TEST(LvlmTraining, TrainsBothHalvesAndSetsTheStatistics) {
  const SceneSet scenes = test::small_scenes();
  LvlmTrainSettings settings = short_training(1);
  TinyLvlm short_run = train_tiny_lvlm(settings, scenes);
  settings.tower_steps = 4;
  TinyLvlm longer_tower = train_tiny_lvlm(settings, scenes);
  settings.tower_steps = 3;
  settings.steps = 4;
  TinyLvlm longer_decoder = train_tiny_lvlm(settings, scenes);
  const auto equal = [](TinyLvlm& a, TinyLvlm& b, const std::string& name) {
    return torch::equal(a->named_parameters()[name], b->named_parameters()[name]);
  };
  EXPECT_FALSE(equal(short_run, longer_tower, "tower.conv1.weight"));
  EXPECT_TRUE(equal(short_run, longer_decoder, "tower.conv1.weight")) << "the tower is frozen while the decoder learns";
  for (const std::string name : {"decoder.block0.qkv.weight", "picture.weight", "question.weight", "answer.weight"}) {
    EXPECT_FALSE(equal(short_run, longer_decoder, name)) << name;
  }
  const torch::NoGradGuard no_grad;
  torch::Tensor pixels = torch::empty({scenes.num_scenes, 3, 8, 8}, torch::kUInt8);
  std::copy(scenes.pixels.begin(), scenes.pixels.end(), pixels.data_ptr<std::uint8_t>());
  const torch::Tensor seen = short_run->standardise(short_run->see(pixels));
  EXPECT_LT(seen.mean(0).abs().max().item<double>(), 1e-3);
  EXPECT_LT((seen.std(0) - 1).abs().max().item<double>(), 1e-2);
}

}  // namespace
}  // namespace saber
