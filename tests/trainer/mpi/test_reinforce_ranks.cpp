// Reinforce on several ranks against a computation by hand in one process: same samples, rewards, advantages, losses.
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "tests/comm/group_of_one.h"
#include "tests/data/temporary_folder.h"
#include "tests/trainer/mpi/train_world.h"
#include "trainer/search/sample.h"

namespace saber {
namespace {

using namespace test;

// One sample of a step, computed without ranks, batches or the code of Reinforce.
struct HandSample {
  DemonstrationSequence sequence;
  std::optional<double> reward;
  double advantage = 0;
};

class ByHand {
 public:
  // start: weights at the beginning of the stage.
  ByHand(const World& world, SaberModel& start)
      : world_(world), library_(world.set), head_(library_, world.features, {}), start_(world.model()) {
    copy_weights(start, start_);
  }

  std::vector<HandSample> samples(SaberModel& model, const Units& units, std::int64_t step) const {
    const torch::NoGradGuard no_grad;
    const auto& settings = world_.settings.sampling;
    const torch::Tensor keys = world_.features.fuse(model, rows_tensor(library_.rows()));
    std::vector<HandSample> out;
    for (const std::int64_t unit : units) {
      const std::int64_t query = world_.set.rows_of(Split::train)[to_index(unit)];
      for (std::int64_t number = 0; number < settings.group_size; ++number) {
        HandSample& sample = out.emplace_back();
        sample.sequence.query = query;
        const torch::Tensor items =
            sample_sequences(model, head_, world_.features, keys, {{query, number}}, {kSeed, step, settings.shots});
        for (std::int64_t i = 0; i < settings.shots; ++i)
          sample.sequence.shots.push_back(library_.rows()[to_index(items[0][i].item<std::int64_t>())]);
        sample.reward = reward_of(sample.sequence);
      }
      set_advantages(std::span(out).last(to_index(settings.group_size)));
    }
    return out;
  }

  torch::Tensor loss(SaberModel& model, const std::vector<HandSample>& samples) {
    torch::Tensor sum = torch::zeros({}, world_.type);
    for (const HandSample& sample : samples) {
      torch::Tensor log_p = torch::zeros({}, world_.type), kl = torch::zeros({}, world_.type);
      for (std::size_t i = 0; i < sample.sequence.shots.size(); ++i) {
        const torch::Tensor now = log_policy(model, sample.sequence, i);
        const torch::Tensor before = log_policy(start_, sample.sequence, i).detach();
        const torch::Tensor allowed = now.isfinite(), zero = torch::zeros_like(before);
        log_p = log_p + now[library_.item_of(sample.sequence.shots[i])];
        kl =
            kl + (now.exp() * torch::where(allowed, now, zero) - now.exp() * torch::where(allowed, before, zero)).sum();
      }
      const auto shots = static_cast<double>(sample.sequence.shots.size());
      sum = sum - sample.advantage * log_p + world_.settings.sampling.leash * kl / shots;
    }
    return sum / static_cast<double>(samples.size());
  }

 private:
  static void set_advantages(std::span<HandSample> group) {
    double count = 0, mean = 0, variance = 0;
    for (const HandSample& s : group) count += s.reward ? 1 : 0;
    for (const HandSample& s : group) mean += s.reward.value_or(0) / count;
    for (const HandSample& s : group) variance += s.reward ? (*s.reward - mean) * (*s.reward - mean) / (count - 1) : 0;
    for (HandSample& s : group) {
      if (s.reward && count >= 2) s.advantage = (*s.reward - mean) / (std::sqrt(variance) + 0.05);
    }
  }
  // Over all items, minus infinity where the position may not choose.
  torch::Tensor log_policy(SaberModel& model, const DemonstrationSequence& sequence, std::size_t position) const {
    const std::vector<std::int64_t> prefix(sequence.shots.begin(),
                                           sequence.shots.begin() + static_cast<std::ptrdiff_t>(position));
    const torch::Tensor shots = world_.features.fuse(model, rows_tensor(prefix).view({1, size_of(prefix)}));
    const std::vector<std::int64_t> query = {sequence.query};
    const torch::Tensor z = model(world_.features.queries(query), shots)[0][static_cast<std::int64_t>(position)];
    torch::Tensor unusable = torch::zeros({library_.size()}, torch::kBool);
    for (std::int64_t item = 0; item < library_.size(); ++item) {
      const std::int64_t row = library_.rows()[to_index(item)];
      const bool used = std::find(prefix.begin(), prefix.end(), row) != prefix.end();
      unusable[item] = used || world_.set.same_picture(row, sequence.query);
    }
    const torch::Tensor logits = torch::matmul(world_.features.fuse(model, rows_tensor(library_.rows())), z);
    return logits.masked_fill(unusable, -std::numeric_limits<double>::infinity()).log_softmax(0);
  }

  const World& world_;
  Library library_;
  LibraryHead head_;
  SaberModel start_;
};

// After a stage of another kind: the optimiser starts anew, and rate, plan and leash count from the stage's start.
void expect_equal_to_one_process(bool sharded) {
  constexpr std::int64_t kBefore = 4, kCompared = 12;
  World both({"listwise 4 steps", "reinforce 12 steps"}, torch::kFloat64, sharded),
      world({"reinforce 12 steps"}, torch::kFloat64);
  Trainer trainer = both.trainer(both.model());
  for (std::int64_t step = 0; step < kBefore; ++step) trainer.step();
  ByHand by_hand(world, trainer.model());
  std::vector<HandSample> samples;
  Reference reference(world, [&](SaberModel& model, const Units& units, std::int64_t step) {
    samples = by_hand.samples(model, units, kBefore + step);
    return by_hand.loss(model, samples);
  });
  copy_weights(trainer.model(), reference.model());
  const Reinforce& reinforce = *reinforce_of(trainer.stages());
  std::set<std::vector<std::int64_t>> distinct;
  std::int64_t failed = 0, counted = 0;
  for (std::int64_t step = 0; step < kCompared; ++step) {
    const StepReport report = trainer.step();
    if (!mpi_world().is_root()) continue;
    EXPECT_EQ(report.units, reference.units(step));
    counted += reinforce.metrics().at("failed").get<std::int64_t>();
    const double wanted = reference.step(step);
    ASSERT_EQ(reinforce.sequences().size(), samples.size());
    for (std::size_t i = 0; i < samples.size(); ++i) {
      ASSERT_EQ(reinforce.sequences()[i].query, samples[i].sequence.query);
      ASSERT_EQ(reinforce.sequences()[i].shots, samples[i].sequence.shots) << "step " << step << " sample " << i;
      ASSERT_NEAR(reinforce.advantages().values[i], samples[i].advantage, 1e-12) << "step " << step << " sample " << i;
      distinct.insert(samples[i].sequence.shots);
      if (samples[i].reward) continue;
      ASSERT_EQ(reinforce.advantages().values[i], 0) << "no reward, no gradient";
      ++failed;
    }
    ASSERT_NEAR(report.loss, wanted, 1e-10) << "step " << step;
    ASSERT_LT(largest_gradient_difference(trainer.model(), reference.model()), 1e-10) << "step " << step;
  }
  if (!mpi_world().is_root()) return;
  EXPECT_GT(failed, 10);
  EXPECT_EQ(counted, failed);
  EXPECT_GT(distinct.size(), 40U);
}

TEST(ReinforceRanks, SamplesAdvantagesLossesAndGradientsEqualOneProcess) {
  expect_equal_to_one_process(/*sharded=*/false);
}

TEST(ReinforceRanks, AShardedLibraryChangesNothing) {
  expect_equal_to_one_process(/*sharded=*/true);
}

// Longer, against the same code in a group of one.
TEST(ReinforceRanks, AHundredStepsEqualThoseOfAGroupOfOne) {
  World alone({"reinforce 100 steps"}, torch::kFloat64);
  alone.group = test::group_of_one();
  Trainer wanted = alone.trainer(alone.model());
  std::vector<std::vector<DemonstrationSequence>> sequences;
  std::vector<double> losses;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    losses.push_back(wanted.step().loss);
    sequences.push_back(reinforce_of(wanted.stages())->sequences());
  }
  for (const bool sharded : {false, true}) {
    World together({"reinforce 100 steps"}, torch::kFloat64, sharded);
    Trainer trainer = together.trainer(together.model());
    for (std::size_t step = 0; step < losses.size(); ++step) {
      ASSERT_NEAR(trainer.step().loss, losses[step], 1e-10) << "step " << step << (sharded ? ", sharded" : "");
      const auto& found = reinforce_of(trainer.stages())->sequences();
      ASSERT_EQ(found.size(), sequences[step].size());
      for (std::size_t i = 0; i < found.size(); ++i) ASSERT_EQ(found[i].shots, sequences[step][i].shots) << step;
    }
    EXPECT_LT(largest_gradient_difference(trainer.model(), wanted.model()), 1e-9);
  }
}

// One query, two sequences: further ranks draw nothing, but their shards take part.
TEST(ReinforceRanks, ABatchSmallerThanTheWorldLeavesShardsAtWork) {
  World alone({"reinforce 5 steps"}, torch::kFloat64), together({"reinforce 5 steps"}, torch::kFloat64, true);
  for (World* const world : {&alone, &together}) {
    world->settings.reinforce.batch_size = 1;
    world->settings.sampling.group_size = 2;
  }
  Trainer wanted = alone.trainer(alone.model()), trainer = together.trainer(together.model());
  for (std::int64_t step = 0; step < 5; ++step) {
    EXPECT_NEAR(trainer.step().loss, wanted.step().loss, 1e-10);
    EXPECT_LT(largest_gradient_difference(trainer.model(), wanted.model()), 1e-10);
  }
}

TEST(ReinforceRanks, NothingIsScoredTwiceAndAllRanksHoldTheSameTree) {
  World world({"reinforce 12 steps"}, torch::kFloat32);
  world.settings.sampling.shots = 1;  // 40 items: every query meets its sequences again
  Trainer trainer = world.trainer(world.model());
  for (std::int64_t step = 0; step < 12; ++step) trainer.step();
  std::vector<std::int64_t> scored;  // query * 1000 + row
  for (const auto& call : world.scorer.calls) {
    for (const DemonstrationSequence& sequence : call) {
      if (reward_of(sequence)) scored.push_back(sequence.query * 1000 + sequence.shots[0]);
    }
  }
  std::set<std::int64_t> distinct;
  std::size_t total = 0;
  for (const auto& of_rank : all_gather_values(*world.group, scored, 10'000)) {
    distinct.insert(of_rank.begin(), of_rank.end());
    total += of_rank.size();
  }
  EXPECT_EQ(distinct.size(), total);
  const ScoreTree tree = reinforce_of(trainer.stages())->tree();
  EXPECT_EQ(std::count(tree.status.begin(), tree.status.end(), NodeStatus::scored), static_cast<std::ptrdiff_t>(total));
  const auto rewards = all_gather_values(*world.group, tree.reward, tree.size());
  for (const auto& theirs : rewards)
    EXPECT_EQ(std::memcmp(theirs.data(), tree.reward.data(), tree.reward.size() * sizeof(double)), 0);
}

// A checkpoint in the middle of a stage, at its end, and in the middle of the next.
TEST(ReinforceRanks, ARestoredRunEqualsTheUnbrokenOneBitForBit) {
  for (const std::int64_t stop : {4, 6, 11}) {
    World world({"listwise 6 steps", "reinforce 9 steps", "listwise 2 steps"}, torch::kFloat32);
    expect_resume_is_exact(world, 17, stop, std::to_string(stop), [&](Trainer& trainer) {
      EXPECT_EQ(trainer.optimiser_tensors().contains("start.begin"), stop == 11)
          << "the leash's policy, in its stage only";
    });
  }
}

TEST(ReinforceRanks, WithoutASingleRewardAllRanksStop) {
  World world({"reinforce 2 steps"}, torch::kFloat32);
  world.scorer = FakeScorer([](const DemonstrationSequence&) { return std::nullopt; });
  Trainer trainer = world.trainer(world.model());
  testing_data::expect_error(ErrorKind::internal, {"step 1", "could not score a single sequence"},
                             [&] { trainer.step(); });
}

}  // namespace
}  // namespace saber
