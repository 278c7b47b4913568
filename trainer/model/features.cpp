#include "trainer/model/features.h"

namespace saber {
namespace {

torch::Tensor matrix(const std::vector<float>& values, std::int64_t width, torch::ScalarType type) {
  return torch::tensor(at::ArrayRef<float>(values)).view({-1, width}).to(type);
}

}  // namespace

torch::Tensor rows_tensor(std::span<const std::int64_t> rows) {
  torch::Tensor out = torch::empty({static_cast<std::int64_t>(rows.size())}, torch::kInt64);
  std::copy(rows.begin(), rows.end(), out.data_ptr<std::int64_t>());
  return out;
}

Features::Features(const EmbeddingSet& set, torch::ScalarType type)
    : image_(matrix(set.image, set.image_width, type)),
      query_(matrix(set.query, set.text_width, type)),
      query_result_(set.query_result.empty() ? torch::Tensor() : matrix(set.query_result, set.text_width, type)),
      instruction_(matrix(set.tasks.embedding, set.text_width, type)),
      task_(torch::tensor(at::ArrayRef<std::int32_t>(set.task)).to(torch::kInt64)) {}

QueryBatch Features::queries(std::span<const std::int64_t> rows) const {
  const torch::Tensor index = rows_tensor(rows);
  return {image_.index_select(0, index), query_.index_select(0, index),
          instruction_.index_select(0, task_.index_select(0, index))};
}

torch::Tensor Features::fuse(SaberModel& model, const torch::Tensor& rows) const {
  const torch::Tensor flat = rows.flatten();
  std::vector<std::int64_t> shape(rows.sizes().begin(), rows.sizes().end());
  shape.push_back(model->settings().width);
  return model->fuse(image_.index_select(0, flat), query_result_.index_select(0, flat)).view(shape);
}

}  // namespace saber
