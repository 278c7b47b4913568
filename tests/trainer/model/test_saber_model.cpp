#include "trainer/model/saber_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/narrow.h"
#include "tests/support/gradient_check.h"
#include "tests/support/small_world.h"
#include "trainer/model/features.h"

namespace saber {
namespace {

struct Kind {
  std::string kind, mask;
};
const std::vector<Kind>& all_kinds() {
  static const std::vector<Kind> kinds = {{"saber", "relevance"}, {"saber", "paper"}, {"saber", "none"}, {"plain", ""}};
  return kinds;
}

ModelSettings settings_of(const Kind& kind, std::int64_t width = 16) {
  ModelSettings settings;
  settings.kind = kind.kind;
  if (!kind.mask.empty()) settings.mask = kind.mask;
  settings.width = width;
  settings.heads = 2;
  settings.max_shots = 6;
  return settings;
}

QueryBatch random_queries(std::int64_t batch, const EmbeddingWidths& widths, torch::ScalarType type) {
  const auto unit = [&](std::int64_t width) {
    const torch::Tensor x = torch::randn({batch, width}, torch::kFloat64);
    return (x / x.norm(2, 1, true)).to(type);
  };
  return {unit(widths.image), unit(widths.text), unit(widths.text)};
}

TEST(SaberModel, NoDemonstrationChangesAnythingBeforeIt) {
  const torch::NoGradGuard no_grad;
  constexpr std::int64_t kShots = 5;
  for (const Kind& kind : all_kinds()) {
    SaberModel model(settings_of(kind), EmbeddingWidths{8, 8}, 1);
    test::randomise(*model, 2, 0.3);  // at the start the head hides everything
    const QueryBatch queries = random_queries(3, {8, 8}, torch::kFloat32);
    const torch::Tensor shots = torch::randn({3, kShots, 16});
    const torch::Tensor before = model(queries, shots);
    for (std::int64_t k = 0; k < kShots; ++k) {
      torch::Tensor changed = shots.clone();
      changed.select(1, k).copy_(torch::randn({3, 16}));
      const torch::Tensor after = model(queries, changed);
      EXPECT_TRUE(torch::equal(after.narrow(1, 0, k + 1), before.narrow(1, 0, k + 1))) << kind.kind << kind.mask << k;
      for (std::int64_t i = k + 1; i <= kShots; ++i) {
        EXPECT_FALSE(torch::allclose(after.select(1, i), before.select(1, i))) << kind.kind << kind.mask << k << i;
      }
    }
  }
}

TEST(SaberModel, ALongerSequenceGivesThePrefixTheSameValues) {
  const torch::NoGradGuard no_grad;
  for (const Kind& kind : all_kinds()) {
    SaberModel model(settings_of(kind), EmbeddingWidths{8, 8}, 1);
    model->to(torch::kFloat64);
    test::randomise(*model, 2, 0.3);
    const QueryBatch queries = random_queries(2, {8, 8}, torch::kFloat64);
    const torch::Tensor shots = torch::randn({2, 4, 16}, torch::kFloat64), whole = model(queries, shots);
    for (std::int64_t k = 0; k < 4; ++k) {
      const torch::Tensor part = model(queries, shots.narrow(1, 0, k));
      ASSERT_EQ(part.size(1), k + 1);
      EXPECT_TRUE(torch::allclose(part, whole.narrow(1, 0, k + 1), 1e-10, 1e-10)) << kind.kind << kind.mask << k;
    }
  }
}

TEST(SaberModel, UntrainedItScoresBySimilarity) {
  const torch::NoGradGuard no_grad;
  const EmbeddingSet set = test::small_set();
  const Features features(set, torch::kFloat32);
  const std::vector<std::int64_t> queries = set.rows_of(Split::train), library = set.rows_of(Split::library);
  const auto cosine_sum = [&](std::int64_t q, std::int64_t x) {
    double sum = 0;
    for (std::int64_t i = 0; i < 8; ++i) {
      const double query = set.image[index_of(8 * q + i)] + set.query[index_of(8 * q + i)];
      sum += query * (set.image[index_of(8 * x + i)] + set.query_result[index_of(8 * x + i)]);
    }
    return sum;
  };
  for (const Kind& kind : all_kinds()) {
    SaberModel model(settings_of(kind, /*width=*/8), features.widths(), 3);
    const torch::Tensor keys = features.fuse(model, rows_tensor(library));
    const torch::Tensor shots = keys.narrow(0, 0, 2).unsqueeze(0).expand({size_of(queries), 2, 8});
    const torch::Tensor logits = torch::matmul(model(features.queries(queries), shots), keys.t());
    for (std::int64_t q = 0; q < size_of(queries); ++q) {
      for (std::int64_t x = 0; x < size_of(library); ++x) {
        const double wanted = std::exp(2.3) * cosine_sum(queries[index_of(q)], library[index_of(x)]);
        for (std::int64_t i = 0; i < 3; ++i)
          ASSERT_NEAR(logits[q][i][x].item<double>(), wanted, 1e-5 * std::max(1.0, std::abs(wanted)));
      }
    }
  }
}

TEST(SaberModel, GradientsMatchCentralDifferences) {
  for (const Kind& kind : all_kinds()) {
    SaberModel model(settings_of(kind, /*width=*/6), EmbeddingWidths{5, 4}, 1);
    model->to(torch::kFloat64);
    test::randomise(*model, 4, 0.4);
    const QueryBatch queries = random_queries(2, {5, 4}, torch::kFloat64);
    const torch::Tensor image = torch::randn({2, 3, 5}, torch::kFloat64),
                        text = torch::randn({2, 3, 4}, torch::kFloat64),
                        weights = torch::randn({2, 4, 6}, torch::kFloat64);
    test::NamedInputs parameters = test::parameters_of(*model);
    parameters.erase("end_key");  // a key of the library's softmax, not of the model's output
    const auto loss = [&] { return (model(queries, model->fuse(image, text)) * weights).sum(); };
    test::expect_gradients_match(loss, parameters, test::Along::random_directions);
  }
}

TEST(SaberModel, TheInstructionReachesTheFirstChoice) {
  const torch::NoGradGuard no_grad;
  for (const Kind& kind : all_kinds()) {
    SaberModel model(settings_of(kind), EmbeddingWidths{8, 8}, 1);
    test::randomise(*model, 2, 0.3);
    QueryBatch queries = random_queries(2, {8, 8}, torch::kFloat32);
    const torch::Tensor none = torch::empty({2, 0, 16}), before = model(queries, none);
    queries.instruction = random_queries(2, {8, 8}, torch::kFloat32).instruction;
    EXPECT_FALSE(torch::allclose(model(queries, none), before)) << kind.kind << kind.mask;
  }
}

TEST(SaberModel, ReadsMoreShotsThanItHasPositionsFor) {
  const torch::NoGradGuard no_grad;
  for (const Kind& kind : all_kinds()) {
    ModelSettings settings = settings_of(kind);
    settings.max_shots = 2;
    SaberModel model(settings, EmbeddingWidths{8, 8}, 1);
    test::randomise(*model, 2, 0.3);
    const torch::Tensor z = model(random_queries(2, {8, 8}, torch::kFloat32), torch::randn({2, 7, 16}));
    ASSERT_EQ(z.sizes(), (std::vector<std::int64_t>{2, 8, 16}));
    EXPECT_TRUE(torch::isfinite(z).all().item<bool>());
  }
}

std::int64_t num_parameters(SaberModel& model) {
  std::int64_t count = 0;
  for (const torch::Tensor& p : model->parameters()) count += p.numel();
  return count;
}

TEST(SaberModel, ParametersDoNotDependOnTheLibrary) {
  std::vector<std::int64_t> counts;
  for (const std::int64_t library : {10, 400}) {
    test::SmallSetSizes sizes;
    sizes.library = library;
    const EmbeddingSet set = test::small_set(sizes);
    const Features features(set, torch::kFloat32);
    SaberModel model(settings_of({"saber", "relevance"}), features.widths(), 1);
    EXPECT_EQ(features.fuse(model, rows_tensor(set.rows_of(Split::library))).size(0), library);
    counts.push_back(num_parameters(model));
  }
  EXPECT_EQ(counts[0], counts[1]);
}

TEST(SaberModel, MasksAndGuiderUpdatesAreAbsentWhereTheyAreSwitchedOff) {
  const auto has = [](const Kind& kind, const std::string& part) {
    for (const auto& item : SaberModel(settings_of(kind), EmbeddingWidths{8, 8}, 1)->named_parameters()) {
      if (item.key().find(part) == 0) return true;
    }
    return false;
  };
  EXPECT_TRUE(has({"saber", "relevance"}, "mask1.") && has({"saber", "relevance"}, "guider_update1."));
  EXPECT_TRUE(!has({"saber", "none"}, "mask") && has({"saber", "none"}, "guider_update1."));
  EXPECT_TRUE(!has({"plain", ""}, "mask") && !has({"plain", ""}, "guider_update"));
}

TEST(SaberModel, AWidthThatTheHeadsDoNotDivideIsRefused) {
  ModelSettings settings;
  settings.width = 10;
  settings.heads = 4;
  EXPECT_THROW(SaberModel(settings, EmbeddingWidths{8, 8}, 1), Error);
}

}  // namespace
}  // namespace saber
