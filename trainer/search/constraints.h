// What a selection asks for, and which library items a query may still choose.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "trainer/library/library_head.h"

namespace saber {

struct SelectOptions {
  std::int64_t shots = 4;
  std::int64_t beam = 1;               // sequences that are followed at once; 1: greedy
  bool same_task = false;              // only rows of the query's task, by the task's name
  bool distinct_pictures = false;      // at most one row per picture
  bool distinct_answers = false;       // at most one row per /text/result
  std::vector<std::int64_t> excluded;  // ids of library rows that are never chosen
};

// Of the items of this rank's shard alone: no rank holds a mask over the whole library. Not collective.
class Constraints {
 public:
  // The library must outlive the constraints. Throws bad_input when an excluded id is no library row.
  Constraints(const Library& library, Slice shard, const SelectOptions& options);

  // What each query may not choose, not even at first: bool [rows, items of the shard].
  torch::Tensor unusable_at_first(const EmbeddingSet& queries, std::span<const std::int64_t> rows) const;
  // Adds to row i what it may not choose once it has chosen chosen[i], int64 [n], items of any shard.
  void add_chosen(torch::Tensor& unusable, const torch::Tensor& chosen) const;

 private:
  void exclude(const std::vector<std::int64_t>& ids);

  const Library& library_;
  Slice shard_;
  bool same_task_;
  torch::Tensor excluded_;                            // bool [items of the shard]
  torch::Tensor item_task_;                           // int64 [items of the shard], number of the item's task
  std::map<std::string, std::int64_t> task_numbers_;  // by name
  std::vector<torch::Tensor> kinds_;  // int64 [K] each: of the items of equal number at most one is chosen
};

}  // namespace saber
