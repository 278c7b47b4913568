#include "trainer/model/saber_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/narrow.h"
#include "tests/support/gradient_check.h"
#include "tests/support/small_world.h"
#include "trainer/model/features.h"

namespace saber {
namespace {

struct Kind {
  std::string name;
  std::function<void(ModelSettings&)> change;
};
std::ostream& operator<<(std::ostream& out, const Kind& kind) {
  return out << kind.name << ' ';
}

// SabER, the plain control, and every part taken away or replaced.
const std::vector<Kind>& all_kinds() {
  static const std::vector<Kind> kinds = {
      {"saber", [](ModelSettings&) {}},
      {"plain", [](ModelSettings& s) { s.kind = "plain"; }},
      {"mask paper", [](ModelSettings& s) { s.mask = "paper"; }},
      {"mask none", [](ModelSettings& s) { s.mask = "none"; }},
      {"gate none", [](ModelSettings& s) { s.gate = "none"; }},
      {"no task", [](ModelSettings& s) { s.query_token = "plain"; }},
      {"no guider update", [](ModelSettings& s) { s.guider_update = false; }},
      {"head without guider", [](ModelSettings& s) { s.head_reads_guider = false; }},
      {"random guider", [](ModelSettings& s) { s.guider_inputs = {"random"}, s.query_token = "plain"; }},
      {"guider of texts",
       [](ModelSettings& s) {
         s.guider_inputs = {"query", "instruction"};
       }},
      {"guider of the picture", [](ModelSettings& s) { s.guider_inputs = {"image"}, s.query_token = "plain"; }},
  };
  return kinds;
}

const Kind& kind_named(const std::string& name) {
  for (const Kind& kind : all_kinds()) {
    if (kind.name == name) return kind;
  }
  throw std::invalid_argument(name);
}

ModelSettings settings_of(const Kind& kind, std::int64_t width = 16) {
  ModelSettings settings;
  settings.width = width;
  settings.heads = 2;
  settings.max_shots = 6;
  kind.change(settings);
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
      EXPECT_TRUE(torch::equal(after.narrow(1, 0, k + 1), before.narrow(1, 0, k + 1))) << kind << k;
      for (std::int64_t i = k + 1; i <= kShots; ++i) {
        EXPECT_FALSE(torch::allclose(after.select(1, i), before.select(1, i))) << kind << k << i;
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
      EXPECT_TRUE(torch::allclose(part, whole.narrow(1, 0, k + 1), 1e-10, 1e-10)) << kind << k;
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
      const double query = set.image[to_index(8 * q + i)] + set.query[to_index(8 * q + i)];
      sum += query * (set.image[to_index(8 * x + i)] + set.query_result[to_index(8 * x + i)]);
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
        const double wanted = std::exp(2.3) * cosine_sum(queries[to_index(q)], library[to_index(x)]);
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
    EXPECT_FALSE(torch::allclose(model(queries, none), before)) << kind;
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

// A model that has learned more positions, all beyond those of `few` equal to its last, gives the same values.
TEST(SaberModel, PositionsBeyondTheLearnedOnesAreTheLast) {
  const torch::NoGradGuard no_grad;
  for (const Kind& kind : all_kinds()) {
    ModelSettings settings = settings_of(kind);
    settings.max_shots = 2;
    SaberModel few(settings, EmbeddingWidths{8, 8}, 1);
    settings.max_shots = 7;
    SaberModel many(settings, EmbeddingWidths{8, 8}, 1);
    test::randomise(*few, 2, 0.3);
    for (const auto& item : few->named_parameters()) {
      const torch::Tensor last =
          item.key() == "position" ? item.value().narrow(0, 3, 1).expand({5, -1}) : torch::Tensor();
      const torch::Tensor wanted = last.defined() ? torch::cat({item.value(), last}) : item.value();
      torch::Tensor copy = many->named_parameters()[item.key()];
      ASSERT_EQ(copy.sizes(), wanted.sizes()) << item.key();
      copy.copy_(wanted);
    }
    const QueryBatch queries = random_queries(2, {8, 8}, torch::kFloat32);
    const torch::Tensor shots = torch::randn({2, 7, 16});
    EXPECT_TRUE(torch::equal(few(queries, shots), many(queries, shots))) << kind;
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
    SaberModel model(settings_of(kind_named("saber")), features.widths(), 1);
    EXPECT_EQ(features.fuse(model, rows_tensor(set.rows_of(Split::library))).size(0), library);
    counts.push_back(num_parameters(model));
  }
  EXPECT_EQ(counts[0], counts[1]);
}

TEST(SaberModel, WhatIsSwitchedOffHasNoParameters) {
  const auto has = [](const std::string& kind, const std::string& part) {
    const SaberModel model(settings_of(kind_named(kind)), EmbeddingWidths{8, 8}, 1);
    for (const auto& item : model->named_parameters()) {
      if (item.key().find(part) == 0) return true;
    }
    return false;
  };
  for (const std::string part : {"mask1.", "guider_update1.", "guider.", "task", "task_in.", "fusion.gate."})
    EXPECT_TRUE(has("saber", part)) << part;
  for (const std::string part : {"query_in.", "guider_start"}) EXPECT_FALSE(has("saber", part)) << part;
  EXPECT_TRUE(!has("mask none", "mask") && has("mask none", "guider_update1."));
  EXPECT_TRUE(has("plain", "query_in.") && !has("plain", "task"));
  EXPECT_TRUE(!has("plain", "mask") && !has("plain", "guider"));
  EXPECT_TRUE(has("no task", "query_in.") && has("no task", "guider.") && !has("no task", "task"));
  EXPECT_TRUE(!has("no guider update", "guider_update") && has("no guider update", "guider."));
  EXPECT_TRUE(has("head without guider", "guider_update0.") && !has("head without guider", "guider_update1."));
  EXPECT_TRUE(has("random guider", "guider_start") && !has("random guider", "guider."));
  EXPECT_FALSE(has("gate none", "fusion.gate."));
}

TEST(SaberModel, ARandomGuiderKnowsNoQuery) {
  const torch::NoGradGuard no_grad;
  SaberModel model(settings_of(kind_named("random guider")), EmbeddingWidths{8, 8}, 1);
  const torch::Tensor guided = model->read(random_queries(3, {8, 8}, torch::kFloat32)).guided;
  EXPECT_TRUE(torch::equal(guided[0], guided[1]) && torch::equal(guided[0], guided[2]));
  EXPECT_NEAR(guided[0].std().item<double>(), 1, 0.6);
}

TEST(SaberModel, TheGuiderActsThroughTheMaskAndThroughTheHead) {
  const torch::NoGradGuard no_grad;
  for (const std::string kind : {"head without guider", "mask none"}) {
    SaberModel model(settings_of(kind_named(kind)), EmbeddingWidths{8, 8}, 1);
    test::randomise(*model, 2, 0.3);
    EXPECT_EQ(test::parameters_of(*model).at("head.weight").size(1), kind == "mask none" ? 32 : 16);
    QueryState state = model->read(random_queries(2, {8, 8}, torch::kFloat32));
    const torch::Tensor none = torch::empty({2, 0, 16}), before = model->choose(state, none);
    state.guided = torch::randn_like(state.guided);
    EXPECT_FALSE(torch::allclose(model->choose(state, none), before)) << kind;
  }
}

TEST(SaberModel, WithoutThatStartAnUntrainedOneKnowsNoSimilarity) {
  const torch::NoGradGuard no_grad;
  ModelSettings settings = settings_of(kind_named("saber"));
  settings.head_start = "random";
  SaberModel model(settings, EmbeddingWidths{8, 8}, 1);
  const QueryBatch queries = random_queries(64, {8, 8}, torch::kFloat32);
  // Its own picture and text as a demonstration is what similarity would choose.
  const torch::Tensor z = model(queries, torch::empty({64, 0, 16})).select(1, 0);
  const torch::Tensor logits = torch::matmul(z, model->fuse(queries.image, queries.query).t());
  const double own = torch::nn::functional::softmax(logits, 1).diag().mean().item<double>();
  EXPECT_LT(own, 0.2);
}

TEST(SaberModel, PenaltiesAreOnesOfEachSample) {
  for (const auto& [sparsity, penalty] : {std::pair{0.0, 0.0}, {0.5, 0.0}, {0.0, 0.25}, {0.5, 0.25}}) {
    ModelSettings settings = settings_of(kind_named("saber"));
    settings.mask_sparsity = sparsity;
    settings.guider_penalty = penalty;
    SaberModel model(settings, EmbeddingWidths{8, 8}, 1);
    model->to(torch::kFloat64);
    test::randomise(*model, 2, 0.3);
    const QueryBatch queries = random_queries(4, {8, 8}, torch::kFloat64);
    const torch::Tensor shots = torch::randn({4, 3, 16}, torch::kFloat64);
    const auto of = [&](std::int64_t first, std::int64_t count) {
      const auto part = [&](const torch::Tensor& x) { return x.narrow(0, first, count); };
      model(QueryBatch{part(queries.image), part(queries.query), part(queries.instruction)}, part(shots));
      return model->penalty_sum(count);
    };
    if (sparsity + penalty == 0) {
      EXPECT_FALSE(of(0, 4).defined());
      continue;
    }
    const double all = of(0, 4).item<double>(), parts = of(0, 1).item<double>() + of(1, 3).item<double>();
    EXPECT_NEAR(all, parts, 1e-10);
    test::NamedInputs p = test::parameters_of(*model);
    const double squares =
        (p.at("guider.up.weight").square().sum() + p.at("guider.down.weight").square().sum()).item<double>();
    if (sparsity == 0) {
      EXPECT_NEAR(all, 4 * penalty * squares, 1e-9);
    }
    if (penalty == 0) {
      EXPECT_LT(all, -1e-4) << "a divergence is rewarded";
    }
    test::NamedInputs moved;
    if (penalty > 0) moved["guider.up.weight"] = p.at("guider.up.weight");
    if (sparsity > 0) moved["mask0.out.weight"] = p.at("mask0.out.weight");
    test::expect_gradients_match([&] { return of(0, 4); }, moved, test::Along::random_directions);
  }
}

// Two items of three numbers each would do, were it not for LN, which makes (1, -1) of any two numbers a > b, and 0 of
// equal ones: then logits are sums and differences of an item's numbers.
TEST(SaberModel, AnIdTableByHand) {
  const torch::NoGradGuard no_grad;
  ModelSettings settings;
  settings.kind = "id_table";
  settings.width = 2;
  settings.heads = 1;
  SaberModel model(settings, EmbeddingWidths{2, 2, 3}, 1);
  test::NamedInputs p = test::parameters_of(*model);
  for (auto& [name, value] : p) {
    const bool ends_residual = name.find(".out.") != std::string::npos || name.find(".down.") != std::string::npos;
    if (ends_residual || name == "position" || name.find("projection") != std::string::npos) value.zero_();
  }
  p.at("task").copy_(torch::tensor({1.0F, 0.0F}));
  p.at("item").copy_(torch::tensor({{1.0F, 0.0F}, {0.0F, 1.0F}, {0.5F, 0.5F}}));
  const auto logits = [&](const std::vector<std::int64_t>& prefix) {
    const torch::Tensor shots = model->items(rows_tensor(prefix)).unsqueeze(0);
    const torch::Tensor z = model(random_queries(1, {2, 2}, torch::kFloat32), shots);
    return torch::matmul(p.at("item"), z[0][size_of(prefix)]);
  };
  const auto near = [](const torch::Tensor& found, const std::vector<float>& wanted) {
    return torch::allclose(found, torch::tensor(wanted), 1e-4, 1e-4);
  };
  EXPECT_TRUE(near(logits({}), {1, -1, 0})) << logits({});         // w_QUERY (1, 0) -> (1, -1): item 0
  EXPECT_TRUE(near(logits({0}), {1, -1, 0})) << logits({0});       // item 0 is taken: item 2
  EXPECT_TRUE(near(logits({0, 2}), {0, 0, 0})) << logits({0, 2});  // (0.5, 0.5) -> 0: item 1 alone is left
  p.at("item").copy_(torch::tensor({{0.0F, 1.0F}, {1.0F, 0.0F}, {0.5F, 0.5F}}));
  EXPECT_TRUE(near(logits({}), {-1, 1, 0})) << "two items that change numbers change places";
}

TEST(SaberModel, AnIdTableKnowsItemsByNumberAlone) {
  EmbeddingSet set = test::small_set();
  ModelSettings settings = settings_of(kind_named("saber"));
  settings.kind = "id_table";
  const Features before(set, torch::kFloat32);
  SaberModel model(settings, before.widths(), 1);
  const torch::Tensor rows = rows_tensor(set.rows_of(Split::library)), keys = before.fuse(model, rows);
  EXPECT_TRUE(torch::equal(keys, test::parameters_of(*model).at("item")));
  EXPECT_TRUE(torch::equal(before.fuse(model, rows.narrow(0, 7, 1))[0], keys[7]));
  for (float& value : set.query_result) value = -value;
  EXPECT_TRUE(torch::equal(Features(set, torch::kFloat32).fuse(model, rows), keys));
}

TEST(SaberModel, SettingsThatContradictEachOtherAreRefused) {
  const auto refused = [](const std::function<void(ModelSettings&)>& change) {
    ModelSettings settings;
    change(settings);
    EXPECT_THROW(SaberModel(settings, EmbeddingWidths{8, 8}, 1), Error);
  };
  refused([](ModelSettings& s) { s.guider_inputs = {}; });
  refused([](ModelSettings& s) { s.guider_inputs = {"image", "random"}; });
  refused([](ModelSettings& s) { s.mask = "none", s.head_reads_guider = false; });
  refused([](ModelSettings& s) { s.kind = "plain", s.guider_penalty = 1; });
  refused([](ModelSettings& s) { s.guider_inputs = {"random"}, s.guider_penalty = 1; });
  refused([](ModelSettings& s) { s.mask = "none", s.mask_sparsity = 1; });
}

TEST(SaberModel, AWidthThatTheHeadsDoNotDivideIsRefused) {
  ModelSettings settings;
  settings.width = 10;
  settings.heads = 4;
  EXPECT_THROW(SaberModel(settings, EmbeddingWidths{8, 8}, 1), Error);
}

}  // namespace
}  // namespace saber
