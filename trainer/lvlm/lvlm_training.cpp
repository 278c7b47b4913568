#include "trainer/lvlm/lvlm_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "core/narrow.h"
#include "core/progress.h"
#include "trainer/lvlm/episodes.h"

namespace saber {
namespace nn = torch::nn;
namespace {

constexpr std::int64_t kTowerBatch = 96, kBatch = 48;
constexpr double kTowerRate = 1.5e-3, kRate = 1e-3, kWeightDecay = 0.05, kMaxNorm = 1.0;
constexpr double kShotLossWeight = 0.5;  // of the demonstrations' own answers, beside the query's

// One cycle: up from max/25 over the first 30 % of the steps, then down to nearly 0, both along a cosine.
double one_cycle(std::int64_t step, std::int64_t steps, double max) {
  const double low = max / 25, end = low / 1e4, turn = 0.3 * static_cast<double>(steps) - 1;
  const auto between = [](double from, double to, double part) {
    return to + (from - to) / 2 * (1 + std::cos(std::numbers::pi * part));
  };
  const auto at = static_cast<double>(step);
  return at <= turn ? between(low, max, at / turn)
                    : between(max, end, (at - turn) / (static_cast<double>(steps) - 1 - turn));
}

// One optimiser step on `loss` at the given learning rate.
void update(torch::optim::AdamW& optimiser, const torch::Tensor& loss, double rate) {
  auto& group = optimiser.param_groups().front();
  static_cast<torch::optim::AdamWOptions&>(group.options()).lr(rate);
  optimiser.zero_grad();
  loss.backward();
  nn::utils::clip_grad_norm_(group.params(), kMaxNorm);
  optimiser.step();
}

// On the LVLM's device.
torch::Tensor pixels_of(const SceneSet& scenes, const std::vector<std::int64_t>& rows, const TinyLvlm& lvlm) {
  const std::int64_t bytes = 3 * scenes.height * scenes.width;
  torch::Tensor out = torch::empty({size_of(rows), 3, scenes.height, scenes.width}, torch::kUInt8);
  auto* to = out.data_ptr<std::uint8_t>();
  for (const std::int64_t row : rows) to = std::copy_n(scenes.pixels.data() + row * bytes, bytes, to);
  return out.to(lvlm->device());
}

void train_tower(TinyLvlm& lvlm, const LvlmTrainSettings& settings, const SceneSet& scenes) {
  std::vector<torch::Tensor> parameters = lvlm->tower()->parameters();
  std::vector<nn::Linear> heads;
  for (const std::int32_t size : scenes.label_sizes) {
    heads.emplace_back(VisionTowerImpl::kWidth, size);
    heads.back()->to(lvlm->device());
    for (const torch::Tensor& p : heads.back()->parameters()) parameters.push_back(p);
  }
  torch::optim::AdamW optimiser(parameters, torch::optim::AdamWOptions(kTowerRate).weight_decay(kWeightDecay));
  const torch::Tensor labels =
      torch::tensor(scenes.labels, torch::kInt32).view({scenes.num_scenes, size_of(heads)}).to(torch::kInt64);
  const auto known_labels = nn::functional::CrossEntropyFuncOptions().ignore_index(-1);
  Progress progress("vision tower", "steps", settings.tower_steps, false);
  for (std::int64_t step = 0; step < settings.tower_steps; ++step) {
    RandomStream stream(narrow<std::uint64_t>(settings.seed), "tower", {step});
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < kTowerBatch; ++i) rows.push_back(stream.below(scenes.num_scenes));
    const torch::Tensor seen = lvlm->see(pixels_of(scenes, rows, lvlm));
    const torch::Tensor drawn = labels.index_select(0, torch::tensor(rows)), truth = drawn.to(lvlm->device());
    torch::Tensor loss = torch::zeros({}, seen.options());
    for (std::size_t a = 0; a < heads.size(); ++a) {
      const auto column = static_cast<std::int64_t>(a);
      if (drawn.select(1, column).max().item<std::int64_t>() < 0) continue;  // a mean over no scene is no number
      loss = loss + nn::functional::cross_entropy(heads[a](seen), truth.select(1, column), known_labels);
    }
    update(optimiser, loss, one_cycle(step, settings.tower_steps, kTowerRate));
    progress.add(1, fmt::format("loss {:.4f}", loss.item<double>()));
  }
  for (torch::Tensor& p : lvlm->tower()->parameters()) p.set_requires_grad(false);
}

// What the tower sees in every scene, standardised; sets the LVLM's statistics on the way. [S, 128]
torch::Tensor look_at_all(TinyLvlm& lvlm, const SceneSet& scenes) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> parts;
  for (std::int64_t first = 0; first < scenes.num_scenes; first += 500) {
    std::vector<std::int64_t> rows(to_index(std::min<std::int64_t>(500, scenes.num_scenes - first)));
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = first + static_cast<std::int64_t>(i);
    parts.push_back(lvlm->see(pixels_of(scenes, rows, lvlm)));
  }
  const torch::Tensor seen = torch::cat(parts);
  lvlm->set_statistics(seen.mean(0), seen.std(0).clamp_min(1e-6));
  return lvlm->standardise(seen);
}

struct EpisodeBatch {
  torch::Tensor scene, question, word;  // int64 [episodes, shots + 1] on the device; the query is last
};

EpisodeBatch make_batch(const EpisodeMaker& maker, std::uint64_t seed, std::int64_t step, torch::Device device) {
  std::vector<std::int64_t> scene, question, word;
  for (std::int64_t i = 0; i < kBatch; ++i) {
    for (const EpisodeItem& item : maker.make(RandomStream(seed, "episode", {step, i}))) {
      scene.push_back(item.scene);
      question.push_back(item.question);
      word.push_back(item.word);
    }
  }
  const auto shaped = [&](const std::vector<std::int64_t>& v) {
    return torch::tensor(v).view({kBatch, -1}).to(device);
  };
  return {shaped(scene), shaped(question), shaped(word)};
}

// Cross-entropy of the query's answer plus a smaller one of the demonstrations' answers.
torch::Tensor episode_loss(TinyLvlm& lvlm, const torch::Tensor& seen, const EpisodeBatch& batch,
                           std::int64_t first_shot) {
  const std::int64_t items = batch.scene.size(1), width = DecoderImpl::kWidth, shots = items - 1;
  const torch::Tensor pictures =
      lvlm->picture_token(seen.index_select(0, batch.scene.flatten())).view({kBatch, items, width});
  const torch::Tensor triples =
      torch::stack({pictures, lvlm->question_token(batch.question), lvlm->answer_token(batch.word)}, 2);
  const std::int64_t tokens = shots * TinyLvlmImpl::kTokensPerShot + 2;
  const torch::Tensor x =
      triples.flatten(1, 2).narrow(1, 0, tokens) + lvlm->positions(first_shot * TinyLvlmImpl::kTokensPerShot, tokens);
  const torch::Tensor at_questions = lvlm->decoder()(x).slice(1, 1, tokens, TinyLvlmImpl::kTokensPerShot);
  // Rows below each other: on GPUs the loss of [episodes, words, items] has no deterministic algorithm.
  const torch::Tensor loss =
      nn::functional::cross_entropy(at_questions.flatten(0, 1), batch.word.flatten(),
                                    nn::functional::CrossEntropyFuncOptions().reduction(torch::kNone))
          .view({kBatch, items});
  return loss.select(1, shots).mean() + kShotLossWeight * loss.narrow(1, 0, shots).mean();
}

void train_decoder(TinyLvlm& lvlm, const LvlmTrainSettings& settings, const SceneSet& scenes,
                   const torch::Tensor& seen) {
  const auto seed = narrow<std::uint64_t>(settings.seed);
  std::vector<torch::Tensor> parameters;
  for (const torch::Tensor& p : lvlm->parameters()) {
    if (p.requires_grad()) parameters.push_back(p);
  }
  torch::optim::AdamW optimiser(parameters, torch::optim::AdamWOptions(kRate).weight_decay(kWeightDecay));
  const EpisodeMaker maker(scenes, settings.shots, lvlm->num_questions());
  Progress progress("decoder", "steps", settings.steps, false);
  for (std::int64_t step = 0; step < settings.steps; ++step) {
    // Half of the steps start at a later position, so that more shots than trained on have trained positions.
    RandomStream stream(seed, "offset", {step});
    const std::int64_t free_shots = TinyLvlmImpl::kMaxShots - settings.shots;
    const std::int64_t first_shot = free_shots > 0 && stream.uniform() < 0.5 ? 1 + stream.below(free_shots) : 0;
    const torch::Tensor loss = episode_loss(lvlm, seen, make_batch(maker, seed, step, lvlm->device()), first_shot);
    update(optimiser, loss, one_cycle(step, settings.steps, kRate));
    progress.add(1, fmt::format("loss {:.4f}", loss.item<double>()));
  }
}

// So that an episode of few scenes has others to show than always the same.
void require_scenes(const LvlmTrainSettings& settings, const SceneSet& scenes) {
  const std::int64_t attributes = size_of(scenes.label_sizes);
  for (std::int64_t a = 0; a < attributes; ++a) {
    std::int64_t count = 0;
    for (std::int64_t s = 0; s < scenes.num_scenes; ++s) count += scenes.labels[to_index(s * attributes + a)] >= 0;
    if (count > settings.shots) continue;
    throw_bad_input(fmt::format("'{}' is answered for {} pictures of library and train rows, an episode of {} "
                                "demonstrations and a query wants at least {}",
                                scenes.label_names[to_index(a)], count, settings.shots, settings.shots + 1),
                    fmt::format("{} /tasks/name row {}", settings.scenes, a), "more pictures, or fewer lvlm.shots");
  }
}

}  // namespace

void LvlmTrainSettings::declare(Schema& schema) {
  schema.text(scenes, "lvlm.scenes", "runs/demo/data/lvlm.h5",
              "what trains the tiny LVLM: scenes with labels (saber data demo), or a data set with pixels and answers "
              "of one word");
  schema.text(output, "lvlm.output", "runs/tiny-lvlm.safetensors", "where lvlm train writes the weights");
  schema.integer(seed, "lvlm.seed", 1, 0, Schema::kAny, "", "seed of initial weights, scenes and episodes");
  schema.integer(tower_steps, "lvlm.tower_steps", 2000, 2, Schema::kAny, "steps", "training steps of the vision tower");
  schema.integer(steps, "lvlm.steps", 8000, 2, Schema::kAny, "steps", "training steps of the decoder");
  schema.integer(shots, "lvlm.shots", 6, 1, TinyLvlmImpl::kMaxShots, "shots", "demonstrations per training episode");
}

TinyLvlm train_tiny_lvlm(const LvlmTrainSettings& settings, const SceneSet& scenes, torch::Device device) {
  if (!scenes.shows_query_again) require_scenes(settings, scenes);
  torch::manual_seed(narrow<std::uint64_t>(settings.seed));
  // An episode binds every attribute to a question token of its own.
  const std::int64_t num_questions = std::max(TinyLvlmImpl::kMinQuestions, size_of(scenes.label_sizes));
  TinyLvlm lvlm(scenes.height, scenes.width, scenes.vocabulary, num_questions);
  lvlm->to(device);
  spdlog::info("tiny LVLM: {} scenes of {}x{} pixels, {} attributes, {} words", scenes.num_scenes, scenes.height,
               scenes.width, scenes.label_sizes.size(), scenes.vocabulary.size());
  train_tower(lvlm, settings, scenes);
  train_decoder(lvlm, settings, scenes, look_at_all(lvlm, scenes));
  return lvlm;
}

}  // namespace saber
