// The frozen embeddings of a data set as tensors, and the rows of them that a batch names.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "data/embedding_set.h"
#include "trainer/model/saber_model.h"

namespace saber {

// A set that holds a share of the library only has the rows of that share alone; any other row is a broken promise.
class Features {
 public:
  // type: kFloat32 (then on the CPU the set's memory is used, and must outlive the features) or kFloat64. All rows are
  // brought to `device` once, and what the calls below return is there.
  Features(const EmbeddingSet& set, torch::ScalarType type, torch::Device device = torch::kCPU);

  EmbeddingWidths widths() const { return {image_.size(1), query_.size(1), num_items_}; }
  torch::Device device() const { return image_.device(); }
  QueryBatch queries(std::span<const std::int64_t> rows) const;
  // e of library items; rows int64 on the CPU, of any shape, all of them library rows -> [.., d].
  torch::Tensor fuse(SaberModel& model, const torch::Tensor& rows) const;

 private:
  torch::Tensor slots_of(const torch::Tensor& rows) const;

  torch::Tensor image_, query_, query_result_, instruction_;
  torch::Tensor task_;  // of each row; on the CPU
  torch::Tensor item_;  // of each row its number among the library rows, -1: none; on the CPU
  std::int64_t num_items_ = 0;
  torch::Tensor slot_;  // of each row in the first three, on the CPU; undefined: every row, in order
};

// On the CPU.
torch::Tensor rows_tensor(std::span<const std::int64_t> rows);

}  // namespace saber
