#include "trainer/library/shard_softmax.h"

#include <gtest/gtest.h>

#include <limits>

#include "trainer/model/precision.h"

namespace saber {
namespace {

constexpr std::int64_t kRows = 5, kItems = 11, kWidth = 4;

struct Policy {
  torch::Tensor z, keys;
};

Policy random_policy(std::int64_t salt, torch::ScalarType type = torch::kFloat64) {
  const auto values = [&](std::int64_t rows, double phase) {
    return torch::sin(torch::arange(rows * kWidth, torch::kFloat64) * 1.7 + phase + static_cast<double>(salt))
        .view({rows, kWidth})
        .to(type)
        .set_requires_grad(true);
  };
  return {values(kRows, 0.3), values(kItems, 0.9)};
}

SoftmaxRows rows() {
  const torch::Tensor none = torch::full({kRows, 3}, -1, torch::kInt64);
  SoftmaxRows out{torch::tensor({0, 10, 3, 3, 7}, torch::kInt64), none};
  out.unusable[0][0] = 4;
  out.unusable[0][2] = 10;
  out.unusable[1][1] = 0;
  out.unusable[4][0] = 8;
  return out;
}

// By LibTorch, on the whole matrix.
torch::Tensor log_p_of(const Policy& policy) {
  const SoftmaxRows chosen = rows();
  torch::Tensor unusable = torch::zeros({kRows, kItems}, torch::kBool);
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (std::int64_t i = 0; i < 3; ++i) {
      const auto item = chosen.unusable[r][i].item<std::int64_t>();
      if (item >= 0) unusable[r][item] = true;
    }
  }
  return torch::matmul(policy.z, policy.keys.t()).masked_fill(unusable, -1e30).log_softmax(1);
}

class ShardSoftmax : public testing::TestWithParam<std::int64_t> {  // bytes of a chunk
 protected:
  ShardOfSoftmax shard() const { return {nullptr, {0, kItems}, GetParam()}; }
};

TEST_P(ShardSoftmax, EqualsTheSoftmaxOfTheWholeMatrixWithItsGradients) {
  const Policy ours = random_policy(1), plain = random_policy(1);
  const torch::Tensor log_p = shard_log_softmax(shard(), ours.z, ours.keys, rows()).log_p;
  const torch::Tensor wanted = log_p_of(plain).gather(1, rows().target.unsqueeze(1)).squeeze(1);
  EXPECT_TRUE(torch::allclose(log_p, wanted, 0, 1e-12)) << log_p << wanted;
  const torch::Tensor weight = torch::arange(1.0, 6.0, torch::kFloat64);
  (log_p * weight).sum().backward();
  (wanted * weight).sum().backward();
  EXPECT_TRUE(torch::allclose(ours.z.grad(), plain.z.grad(), 0, 1e-12));
  EXPECT_TRUE(torch::allclose(ours.keys.grad(), plain.keys.grad(), 0, 1e-12));
}

TEST_P(ShardSoftmax, TheKlToAFixedPolicyToo) {
  const Policy ours = random_policy(1), plain = random_policy(1), fixed = random_policy(2);
  const RowLogProbability out =
      shard_log_softmax(shard(), ours.z, ours.keys, rows(), fixed.z.detach(), fixed.keys.detach());
  const torch::Tensor log_p = log_p_of(plain), before = log_p_of(fixed).detach();
  const torch::Tensor kl = (log_p.exp() * (log_p - before)).sum(1);
  EXPECT_TRUE(torch::allclose(out.kl, kl, 0, 1e-12));
  (out.log_p.sum() + 3 * out.kl.sum()).backward();
  (log_p.gather(1, rows().target.unsqueeze(1)).sum() + 3 * kl.sum()).backward();
  EXPECT_TRUE(torch::allclose(ours.z.grad(), plain.z.grad(), 0, 1e-12));
  EXPECT_TRUE(torch::allclose(ours.keys.grad(), plain.keys.grad(), 0, 1e-12));
}

TEST_P(ShardSoftmax, LargeLogitsStayFinite) {
  Policy policy = random_policy(1, torch::kFloat32);
  const torch::Tensor z = policy.z.detach() * 1e4;
  const torch::Tensor log_p = shard_log_softmax(shard(), z, policy.keys, rows()).log_p;
  EXPECT_TRUE(log_p.isfinite().all().item<bool>()) << log_p;
  EXPECT_LE(log_p.max().item<double>(), 0);
  log_p.sum().backward();
  EXPECT_TRUE(policy.keys.grad().isfinite().all().item<bool>());
}

TEST_P(ShardSoftmax, InBf16TheResultStaysInFloat32) {
  const Policy ours = random_policy(1, torch::kFloat32), plain = random_policy(1);
  torch::Tensor log_p;
  {
    const Bf16Products bf16(true, torch::kCPU);
    log_p = shard_log_softmax(shard(), ours.z, ours.keys, rows()).log_p;
  }
  EXPECT_EQ(log_p.scalar_type(), torch::kFloat32);
  const torch::Tensor wanted = log_p_of(plain).gather(1, rows().target.unsqueeze(1)).squeeze(1);
  EXPECT_TRUE(torch::allclose(log_p.to(torch::kFloat64), wanted, 0, 0.05));
  EXPECT_FALSE(torch::allclose(log_p.to(torch::kFloat64), wanted, 0, 1e-6)) << "the products are not rounded at all";
  log_p.sum().backward();
  EXPECT_EQ(ours.z.grad().scalar_type(), torch::kFloat32);
}

// Logits that are made again for the gradient must be those of the loss, also where products are rounded.
TEST(ShardSoftmax, InBf16ChunksChangeNoGradient) {
  std::vector<torch::Tensor> of_z, of_keys;
  for (const std::int64_t bytes : {std::int64_t{1}, std::int64_t{1} << 20}) {
    const Policy policy = random_policy(1, torch::kFloat32);
    torch::Tensor log_p;
    {
      const Bf16Products bf16(true, torch::kCPU);
      log_p = shard_log_softmax({nullptr, {0, kItems}, bytes}, policy.z * 5, policy.keys * 5, rows()).log_p;
    }
    log_p.sum().backward();
    of_z.push_back(policy.z.grad());
    of_keys.push_back(policy.keys.grad());
  }
  const auto apart = [](const std::vector<torch::Tensor>& two) {
    return ((two[0] - two[1]).norm() / two[1].norm()).item<double>();
  };
  EXPECT_LT(apart(of_z), 0.01);
  EXPECT_LT(apart(of_keys), 0.01);
}

// One item a chunk, three, and all at once.
INSTANTIATE_TEST_SUITE_P(Chunks, ShardSoftmax, testing::Values(1, 3 * kRows * 8, std::int64_t{1} << 20));

TEST(ShardSoftmax, WithoutGradientsThereIsNoGraph) {
  const torch::NoGradGuard no_grad;
  const Policy policy = random_policy(1);
  EXPECT_FALSE(shard_log_softmax({nullptr, {0, kItems}, 1000}, policy.z, policy.keys, rows()).log_p.requires_grad());
}

}  // namespace
}  // namespace saber
