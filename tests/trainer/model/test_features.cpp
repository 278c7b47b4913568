#include "trainer/model/features.h"

#include <gtest/gtest.h>

#include "core/narrow.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

torch::Tensor row_of(const std::vector<float>& matrix, std::int64_t width, std::int64_t row) {
  return torch::tensor(std::vector<float>(matrix.begin() + row * width, matrix.begin() + (row + 1) * width));
}

TEST(Features, QueriesAreTheRowsAskedFor) {
  test::SmallSetSizes sizes;
  sizes.image_width = 6;
  const EmbeddingSet set = test::small_set(sizes);
  const Features features(set, torch::kFloat32);
  EXPECT_EQ(features.widths().image, 6);
  EXPECT_EQ(features.widths().text, 8);
  const std::vector<std::int64_t> rows = {17, 6, 17};
  const QueryBatch batch = features.queries(rows);
  for (std::int64_t i = 0; i < 3; ++i) {
    const std::int64_t row = rows[to_index(i)];
    EXPECT_TRUE(torch::equal(batch.image[i], row_of(set.image, 6, row)));
    EXPECT_TRUE(torch::equal(batch.query[i], row_of(set.query, 8, row)));
    EXPECT_TRUE(torch::equal(batch.instruction[i], row_of(set.tasks.embedding, 8, set.task[to_index(row)])));
  }
  EXPECT_FALSE(torch::equal(batch.instruction[0], batch.instruction[1]));
}

TEST(Features, FusesLibraryRowsOfAnyShape) {
  const EmbeddingSet set = test::small_set();
  ModelSettings settings;
  settings.width = 12;
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    const Features features(set, type);
    SaberModel model(settings, features.widths(), 1);
    model->to(type);
    const torch::Tensor rows = torch::tensor({{0, 1, 2}, {5, 6, 0}}, torch::kInt64);
    const torch::Tensor fused = features.fuse(model, rows);
    ASSERT_EQ(fused.sizes(), (std::vector<std::int64_t>{2, 3, 12}));
    EXPECT_EQ(fused.scalar_type(), type);
    const torch::Tensor wanted = model->fuse(row_of(set.image, 8, 6).to(type), row_of(set.query_result, 8, 6).to(type));
    EXPECT_TRUE(torch::allclose(fused[1][1], wanted, 1e-6, 1e-6));
    EXPECT_EQ(features.fuse(model, torch::empty({2, 0}, torch::kInt64)).sizes(), (std::vector<std::int64_t>{2, 0, 12}));
  }
}

TEST(Features, ADemonstrationsResultCanBeLeftOut) {
  for (const bool result : {true, false}) {
    EmbeddingSet set = test::small_set();
    ModelSettings settings;
    settings.demonstration_text = result ? "query_result" : "query";
    SaberModel model(settings, EmbeddingWidths{8, 8}, 1);
    const torch::Tensor rows = rows_tensor(set.rows_of(Split::library));
    const auto fused = [&] { return Features(set, torch::kFloat32).fuse(model, rows).clone(); };
    const torch::Tensor before = fused();
    for (float& value : set.query_result) value = -value;
    EXPECT_NE(torch::equal(fused(), before), result);
    const torch::Tensor without = fused();
    for (float& value : set.query) value = -value;
    EXPECT_EQ(torch::equal(fused(), without), result);
  }
}

TEST(Features, AFileOfMereQueriesNeedsNoResults) {
  EmbeddingSet set = test::small_set();
  set.query_result.clear();
  EXPECT_EQ(Features(set, torch::kFloat32).queries(std::vector<std::int64_t>{1, 2}).query.size(0), 2);
}

}  // namespace
}  // namespace saber
