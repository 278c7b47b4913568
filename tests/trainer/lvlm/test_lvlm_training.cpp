#include "trainer/lvlm/lvlm_training.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/data/temporary_folder.h"
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

TEST(LvlmTraining, UnknownLabelsTeachNothing) {
  SceneSet scenes = test::small_scenes(1000);
  scenes.shows_query_again = false;
  LvlmTrainSettings settings = short_training(1);
  // Attribute b is known of three scenes only, so that most batches of the tower have none.
  for (std::int64_t s = 3; s < scenes.num_scenes; ++s) scenes.labels[static_cast<std::size_t>(s * 3 + 1)] = -1;
  TinyLvlm lvlm = train_tiny_lvlm(settings, scenes);
  for (const auto& item : lvlm->named_parameters()) {
    EXPECT_TRUE(item.value().isfinite().all().item<bool>()) << item.key();
  }
  settings.shots = 3;
  testing_data::expect_bad_input({"'b' is answered for 3 pictures", "at least 4", "/tasks/name row 1"},
                                 [&] { train_tiny_lvlm(settings, scenes); });
}

TEST(LvlmTraining, MoreAttributesThanQuestionTokensGetMoreTokens) {
  SceneSet scenes = test::small_scenes(4);
  scenes.label_sizes.assign(70, 2);
  scenes.label_names.assign(70, "a");
  scenes.labels.clear();
  scenes.plain_words.clear();
  for (std::int32_t i = 0; i < 70; ++i) scenes.plain_words.insert(scenes.plain_words.end(), {0, 1});
  for (std::int32_t i = 0; i < 4 * 70; ++i) scenes.labels.push_back(i % 2);
  TinyLvlm lvlm = train_tiny_lvlm(short_training(1), scenes);
  EXPECT_EQ(lvlm->num_questions(), 70);
}

}  // namespace
}  // namespace saber
