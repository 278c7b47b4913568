// Imitate: next-token cross-entropy over the whole library and [EOS] on the best 2N complete sequences of each query.
#pragma once

#include "data/embedding_set.h"
#include "data/tree_reader.h"
#include "trainer/library/library_head.h"
#include "trainer/model/features.h"
#include "trainer/objective/objective.h"

namespace saber {

class Imitate : public Objective {
 public:
  // temperature > 0: the sequences of a query are weighted by softmax(reward / temperature), times their number.
  Imitate(double temperature, const EmbeddingSet& set, const Features& features, const HeadOptions& head = {});
  void add(const TreeReader& reader);

  std::int64_t num_units() const override { return static_cast<std::int64_t>(sequences_.size()); }
  std::vector<std::vector<std::int64_t>> groups() const override;  // by length
  bool collective_loss() const override { return head_.sharded(); }
  torch::Tensor loss_sum(SaberModel& model, std::span<const std::int64_t> units) const override;
  std::string sample_name(std::int64_t unit) const override;
  std::string fingerprint() const override;

 private:
  struct Sequence {
    std::int64_t query = 0;
    std::vector<std::int64_t> rows;
    double weight = 1;
  };

  double temperature_;
  const EmbeddingSet& set_;
  const Features& features_;
  Library library_;
  LibraryHead head_;
  std::vector<Sequence> sequences_;
};

}  // namespace saber
