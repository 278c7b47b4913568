// SabER in use: queries in, ordered demonstrations out.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "trainer/model/features.h"
#include "trainer/search/library.h"

namespace saber {

struct Selection {
  std::vector<std::int64_t> rows;         // library rows, in the order in which the LVLM reads them
  std::vector<double> log_probabilities;  // of each choice, given those before it
};

struct SelectOptions {
  std::int64_t shots = 4;
  std::int64_t beam = 1;               // sequences that are followed at once; 1: greedy
  bool same_task = false;              // only rows of the query's task, by the task's name
  bool distinct_pictures = false;      // at most one row per picture
  bool distinct_answers = false;       // at most one row per /text/result
  std::vector<std::int64_t> excluded;  // ids of library rows that are never chosen
};

class Selector {
 public:
  // Fuses the library (split 0 of `library`) once. References must outlive the selector. Throws bad_input when an
  // excluded id is no library row.
  Selector(SaberModel model, const EmbeddingSet& library, const Features& features, SelectOptions options);

  // The sequence of largest probability that a beam search finds among the items that are not chosen yet, do not show
  // the query's own picture and meet the options; never [EOS]. Which one of equal probability is not specified, but
  // always the same. A selection does not depend on the other queries. Throws bad_input, naming the query, when the
  // search finds no sequence of `shots` items.
  std::vector<Selection> select(const EmbeddingSet& queries, const Features& query_features,
                                std::span<const std::int64_t> rows);

 private:
  struct Beams;
  void select_block(const EmbeddingSet& queries, const Features& query_features, std::span<const std::int64_t> rows,
                    std::vector<Selection>& out);
  torch::Tensor unusable_at_first(const EmbeddingSet& queries, std::span<const std::int64_t> rows) const;
  void extend(Beams& beams, const torch::Tensor& log_p) const;
  torch::Device device() const { return keys_.device(); }
  [[noreturn]] void refuse(std::int64_t query_id) const;

  SaberModel model_;
  Library library_;
  SelectOptions options_;
  torch::Tensor keys_;                                // [K, d]; on the model's device, as kinds_; all else on the CPU
  torch::Tensor excluded_;                            // bool [K]
  torch::Tensor item_task_;                           // int64 [K], number of the item's task
  std::map<std::string, std::int64_t> task_numbers_;  // by name
  std::vector<torch::Tensor> kinds_;  // int64 [K] each: of the items of equal number at most one is chosen
};

}  // namespace saber
