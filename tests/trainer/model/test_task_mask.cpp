#include "trainer/model/task_mask.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/gradient_check.h"

namespace saber {
namespace {

constexpr std::int64_t kWidth = 4, kTokens = 3, kBatch = 2;  // tokens: the query and two demonstrations

struct Inputs {
  TaskMask mask;
  torch::Tensor g, e;

  explicit Inputs(const std::string& kind, std::uint64_t seed = 1) : mask(settings(kind)) {
    mask->to(torch::kFloat64);
    test::randomise(*mask, seed);
    g = torch::randn({kBatch, kTokens + 1, kWidth}, torch::kFloat64).requires_grad_();
    e = (0.5 * torch::randn({kBatch, kTokens, kWidth}, torch::kFloat64)).requires_grad_();
  }
  static ModelSettings settings(const std::string& kind) {
    ModelSettings out;
    out.width = kWidth;
    out.mask = kind;
    return out;
  }
  torch::Tensor forward() { return mask(g, e, pairwise_cosine(e)); }
  torch::Tensor alpha() { return mask->named_parameters()["alpha"]; }
  void set(const std::string& name, double value) {
    const torch::NoGradGuard no_grad;
    mask->named_parameters()[name].fill_(value);
  }
};

TEST(TaskMask, GradientsMatchCentralDifferences) {
  for (const std::string kind : {"relevance", "paper"}) {
    Inputs in(kind);
    const torch::Tensor weights = torch::randn({kBatch, kTokens + 1, kTokens + 1}, torch::kFloat64);
    test::NamedInputs inputs = test::parameters_of(*in.mask);
    inputs["g"] = in.g;
    inputs["e"] = in.e;
    test::expect_gradients_match([&] { return (in.forward() * weights).sum(); }, inputs);
  }
}

TEST(TaskMask, DivergenceFromUniformByHand) {
  // Row 2 sees columns 1, 2 (0-based 0, 1 of the tokens) with masks log 3 and 0: p = 3/4, 1/4; row 3 sees three equal
  // ones: 0. [BOS]'s row and column, row 1 and what lies above the diagonal do not count.
  torch::Tensor mask = torch::full({1, 4, 4}, 7.0, torch::kFloat64);
  mask[0][2][1] = std::log(3.0);
  mask[0][2][2] = 0;
  mask[0].select(0, 3).slice(0, 1).fill_(5);
  const double wanted = (std::log(2.0) + 0.75 * std::log(0.75) + 0.25 * std::log(0.25)) / 2;
  EXPECT_NEAR(divergence_from_uniform(mask).item<double>(), wanted, 1e-12);
  EXPECT_EQ(divergence_from_uniform(mask.narrow(1, 0, 2).narrow(2, 0, 2)).item<double>(), 0) << "no demonstration";
  // Of bfloat16 products nothing more is rounded: the spacing of bfloat16 near log 2 is 0.004.
  const torch::Tensor coarse = mask.to(torch::kBFloat16), found = divergence_from_uniform(coarse);
  EXPECT_EQ(found.scalar_type(), torch::kFloat32);
  EXPECT_NEAR(found.item<double>(), divergence_from_uniform(coarse.to(torch::kFloat64)).item<double>(), 1e-6);
}

TEST(TaskMask, GateIsTheMlpOnTheConcatenation) {
  Inputs in("relevance");
  const auto p = test::parameters_of(*in.mask);
  const torch::Tensor t = in.mask->relevance(in.g.narrow(1, 1, kTokens), in.e);
  for (std::int64_t i = 0; i < kTokens; ++i) {
    for (std::int64_t j = 0; j < kTokens; ++j) {
      const torch::Tensor joined = torch::cat({in.g[0][i + 1], 2.0 * in.e[0][j]});  // sqrt(width) = 2
      const torch::Tensor both = torch::cat({p.at("guider_in.weight"), p.at("token_in.weight")}, 1);
      const torch::Tensor hidden = torch::gelu(both.mv(joined) + p.at("guider_in.bias"));
      const torch::Tensor wanted = torch::sigmoid(p.at("out.weight").mv(hidden) + p.at("out.bias"));
      EXPECT_NEAR(t[0][i][j].item<double>(), wanted.item<double>(), 1e-12);
    }
  }
}

TEST(TaskMask, EntriesAreTheFormulaOfTheirKind) {
  for (const std::string kind : {"relevance", "paper"}) {
    Inputs in(kind);
    const double alpha = in.alpha().item<double>();
    const torch::Tensor out = in.forward(), t = in.mask->relevance(in.g.narrow(1, 1, kTokens), in.e);
    const torch::Tensor cosine = torch::cosine_similarity(in.e.unsqueeze(2), in.e.unsqueeze(1), 3);
    for (std::int64_t i = 0; i < kTokens; ++i) {
      for (std::int64_t j = 0; j < kTokens; ++j) {
        const double weight = j == 0 && i >= 1 ? alpha : 1;
        const double similarity = weight * cosine[1][i][j].item<double>() / 2, gate = t[1][i][j].item<double>();
        const double wanted = kind == "paper" ? -std::log(gate) * similarity : gate * similarity + std::log(gate);
        EXPECT_NEAR(out[1][i + 1][j + 1].item<double>(), wanted, 1e-12) << kind << i << j;
      }
    }
  }
}

TEST(TaskMask, RowAndColumnOfBosAreZero) {
  Inputs in("relevance");
  const torch::Tensor out = in.forward();
  ASSERT_EQ(out.sizes(), (std::vector<std::int64_t>{kBatch, kTokens + 1, kTokens + 1}));
  EXPECT_EQ(out.select(1, 0).abs().max().item<double>(), 0);
  EXPECT_EQ(out.select(2, 0).abs().max().item<double>(), 0);
}

TEST(TaskMask, AlphaActsOnlyWhereADemonstrationLooksAtTheQuery) {
  Inputs in("relevance");
  in.set("alpha", 1);
  const torch::Tensor before = in.forward();
  in.set("alpha", 3);
  const torch::Tensor changed = in.forward().ne(before)[0];
  for (std::int64_t row = 0; row <= kTokens; ++row) {
    for (std::int64_t column = 0; column <= kTokens; ++column) {
      EXPECT_EQ(changed[row][column].item<bool>(), row >= 2 && column == 1) << row << column;
    }
  }
}

TEST(TaskMask, GateIsClampedSoThatItsLogarithmIsFinite) {
  for (const double bias : {-1e4, 1e4}) {
    Inputs in("relevance");
    in.set("out.bias", bias);
    const torch::Tensor t = in.mask->relevance(in.g.narrow(1, 1, kTokens), in.e);
    EXPECT_NEAR(t.min().item<double>(), bias < 0 ? 1e-4 : 1 - 1e-4, 1e-12);
    EXPECT_NEAR(t.max().item<double>(), bias < 0 ? 1e-4 : 1 - 1e-4, 1e-12);
    EXPECT_TRUE(torch::isfinite(in.forward()).all().item<bool>());
  }
}

TEST(TaskMask, AnIrrelevantTokenGetsTheSmallerBonusUnlessThePapersSignIsAsked) {
  for (const std::string kind : {"relevance", "paper"}) {
    Inputs in(kind);
    const torch::NoGradGuard no_grad;
    in.e.copy_(torch::ones_like(in.e));  // all cosines are 1
    in.set("alpha", 1);
    in.set("out.bias", 4);
    const torch::Tensor relevant = in.forward().clone();
    in.set("out.bias", -4);
    const double gain = (relevant - in.forward())[0].slice(0, 1).slice(1, 1).mean().item<double>();
    EXPECT_EQ(gain > 0, kind == "relevance") << kind << " " << gain;
  }
}

}  // namespace
}  // namespace saber
