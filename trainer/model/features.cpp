#include "trainer/model/features.h"

#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

torch::Tensor matrix(const float* values, std::int64_t rows, std::int64_t width, const torch::TensorOptions& options) {
  return torch::from_blob(const_cast<float*>(values), {rows, width}, torch::kFloat32).to(options);
}

using RowOf = std::span<const float> (EmbeddingSet::*)(std::int64_t) const;

// The rows that the set holds, in order; a copy only where they do not lie side by side.
torch::Tensor held_rows(const EmbeddingSet& set, RowOf row_of, std::int64_t width,
                        const torch::TensorOptions& options) {
  std::vector<const float*> rows;
  bool side_by_side = true;
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    if (!set.holds(row)) continue;
    rows.push_back((set.*row_of)(row).data());
    side_by_side = side_by_side && rows.back() == rows.front() + (size_of(rows) - 1) * width;
  }
  if (rows.empty()) return torch::empty({0, width}, options);
  if (side_by_side) return matrix(rows.front(), size_of(rows), width, options);
  std::vector<float> copied;
  for (const float* const row : rows) copied.insert(copied.end(), row, row + width);
  return matrix(copied.data(), size_of(rows), width, torch::kFloat32).clone().to(options);
}

// Neighbouring rows in order, as those of a library mostly are, are not copied.
torch::Tensor rows_of(const torch::Tensor& matrix, const torch::Tensor& slots) {
  const std::int64_t count = slots.numel();
  if (count > 1) {
    const auto first = slots[0].item<std::int64_t>();
    if (torch::equal(slots, torch::arange(first, first + count))) return matrix.narrow(0, first, count);
  }
  return matrix.index_select(0, slots.to(matrix.device()));
}

}  // namespace

torch::Tensor rows_tensor(std::span<const std::int64_t> rows) {
  torch::Tensor out = torch::empty({static_cast<std::int64_t>(rows.size())}, torch::kInt64);
  std::copy(rows.begin(), rows.end(), out.data_ptr<std::int64_t>());
  return out;
}

Features::Features(const EmbeddingSet& set, torch::ScalarType type, torch::Device device)
    : image_(held_rows(set, &EmbeddingSet::image_of, set.image_width, torch::dtype(type).device(device))),
      query_(held_rows(set, &EmbeddingSet::query_of, set.text_width, image_.options())),
      query_result_(set.has_query_results()
                        ? held_rows(set, &EmbeddingSet::query_result_of, set.text_width, image_.options())
                        : torch::Tensor()),
      instruction_(matrix(set.tasks.embedding.data(), set.num_tasks(), set.text_width, image_.options())),
      task_(torch::tensor(at::ArrayRef<std::int32_t>(set.task)).to(torch::kInt64)),
      item_(torch::full({set.num_rows}, -1, torch::kInt64)) {
  for (const std::int64_t row : set.rows_of(Split::library)) item_.data_ptr<std::int64_t>()[row] = num_items_++;
  if (image_.size(0) == set.num_rows) return;
  slot_ = torch::full({set.num_rows}, -1, torch::kInt64);
  std::int64_t held = 0;
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    if (set.holds(row)) slot_.data_ptr<std::int64_t>()[row] = held++;
  }
}

torch::Tensor Features::slots_of(const torch::Tensor& rows) const {
  if (!slot_.defined()) return rows;
  const torch::Tensor slots = slot_.index_select(0, rows);
  ensure(slots.numel() == 0 || slots.min().item<std::int64_t>() >= 0, "this rank holds the rows it asks for");
  return slots;
}

QueryBatch Features::queries(std::span<const std::int64_t> rows) const {
  const torch::Tensor index = rows_tensor(rows), slots = slots_of(index).to(image_.device());
  return {image_.index_select(0, slots), query_.index_select(0, slots),
          instruction_.index_select(0, task_.index_select(0, index).to(image_.device()))};
}

torch::Tensor Features::fuse(SaberModel& model, const torch::Tensor& rows) const {
  std::vector<std::int64_t> shape(rows.sizes().begin(), rows.sizes().end());
  shape.push_back(model->settings().width);
  if (model->id_table()) return model->items(item_.index_select(0, rows.flatten())).view(shape);
  const torch::Tensor slots = slots_of(rows.flatten());
  const bool question_only = model->settings().demonstration_text == "query";
  return model->fuse(rows_of(image_, slots), rows_of(question_only ? query_ : query_result_, slots)).view(shape);
}

}  // namespace saber
