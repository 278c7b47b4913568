#include "trainer/model/features.h"

#include "core/error.h"

namespace saber {
namespace {

torch::Tensor matrix(const std::vector<float>& values, std::int64_t width, const torch::TensorOptions& options) {
  const auto rows = static_cast<std::int64_t>(values.size()) / width;
  return torch::from_blob(const_cast<float*>(values.data()), {rows, width}, torch::kFloat32).to(options);
}

// Neighbouring rows in order, as those of a library mostly are, are not copied.
torch::Tensor rows_of(const torch::Tensor& matrix, const torch::Tensor& places) {
  const std::int64_t count = places.numel();
  if (count > 1) {
    const auto first = places[0].item<std::int64_t>();
    if (torch::equal(places, torch::arange(first, first + count))) return matrix.narrow(0, first, count);
  }
  return matrix.index_select(0, places.to(matrix.device()));
}

}  // namespace

torch::Tensor rows_tensor(std::span<const std::int64_t> rows) {
  torch::Tensor out = torch::empty({static_cast<std::int64_t>(rows.size())}, torch::kInt64);
  std::copy(rows.begin(), rows.end(), out.data_ptr<std::int64_t>());
  return out;
}

Features::Features(const EmbeddingSet& set, torch::ScalarType type, torch::Device device)
    : image_(matrix(set.image, set.image_width, torch::dtype(type).device(device))),
      query_(matrix(set.query, set.text_width, image_.options())),
      query_result_(set.query_result.empty() ? torch::Tensor()
                                             : matrix(set.query_result, set.text_width, image_.options())),
      instruction_(matrix(set.tasks.embedding, set.text_width, image_.options())),
      task_(torch::tensor(at::ArrayRef<std::int32_t>(set.task)).to(torch::kInt64)),
      item_(torch::full({set.num_rows}, -1, torch::kInt64)),
      place_(set.place.empty() ? torch::Tensor() : rows_tensor(set.place)) {
  for (const std::int64_t row : set.rows_of(Split::library)) item_.data_ptr<std::int64_t>()[row] = num_items_++;
}

torch::Tensor Features::places_of(const torch::Tensor& rows) const {
  if (!place_.defined()) return rows;
  const torch::Tensor places = place_.index_select(0, rows);
  ensure(places.numel() == 0 || places.min().item<std::int64_t>() >= 0, "this rank holds the rows it asks for");
  return places;
}

QueryBatch Features::queries(std::span<const std::int64_t> rows) const {
  const torch::Tensor index = rows_tensor(rows), places = places_of(index).to(image_.device());
  return {image_.index_select(0, places), query_.index_select(0, places),
          instruction_.index_select(0, task_.index_select(0, index).to(image_.device()))};
}

torch::Tensor Features::fuse(SaberModel& model, const torch::Tensor& rows) const {
  std::vector<std::int64_t> shape(rows.sizes().begin(), rows.sizes().end());
  shape.push_back(model->settings().width);
  if (model->id_table()) return model->items(item_.index_select(0, rows.flatten())).view(shape);
  const torch::Tensor places = places_of(rows.flatten());
  const bool question_only = model->settings().demonstration_text == "query";
  return model->fuse(rows_of(image_, places), rows_of(question_only ? query_ : query_result_, places)).view(shape);
}

}  // namespace saber
