// Data parallel training against one process that takes the whole global batch: plain autograd, LibTorch's own AdamW.
#include <gtest/gtest.h>

#include "tests/data/temporary_folder.h"
#include "tests/trainer/mpi/train_world.h"

namespace saber {
namespace {

using namespace test;

void expect_equal_to_reference(const std::string& kind, torch::ScalarType type, double tolerance) {
  World world({kind + " 20 epochs"}, type);
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

TEST(TrainRanks, AllRanksHoldTheSameBits) {
  World world({"listwise 20 epochs"}, torch::kFloat32);
  Trainer trainer = world.trainer(world.model());
  Replay run;
  run.go(trainer, 20);
  const std::vector<char> mine(run.state.begin(), run.state.end());
  for (const auto& theirs : all_gather_values(*world.group, mine)) EXPECT_EQ(theirs, mine);
}

TEST(TrainRanks, InitialWeightsAreThoseOfRankZero) {
  World world({"listwise 20 epochs"}, torch::kFloat32);
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
  World world({"listwise 20 epochs"}, torch::kFloat64);
  world.settings.listwise.batch_size = 1;
  Reference reference(world);
  Trainer trainer = world.trainer(world.model());
  for (std::int64_t step = 0; step < 5; ++step) EXPECT_NEAR(trainer.step().loss, reference.step(step), 1e-10);
}

TEST(TrainRanks, ARestoredRunEqualsTheUnbrokenOneBitForBit) {
  for (const std::string kind : {"listwise", "imitate"}) {
    World world({kind + " 20 epochs"}, torch::kFloat32);
    expect_resume_is_exact(world, 24, 11, kind);
  }
}

TEST(TrainRanks, ALossThatIsNoNumberStopsAllRanks) {
  World world({"listwise 20 epochs"}, torch::kFloat32);
  Trainer trainer = world.trainer(world.model());
  trainer.step();
  {
    const torch::NoGradGuard no_grad;
    trainer.model()->named_parameters()["log_scale"].fill_(std::nan(""));
  }
  testing_data::expect_error(ErrorKind::internal, {"step 2", "nan", "learning_rate"}, [&] { trainer.step(); });
}

}  // namespace
}  // namespace saber
