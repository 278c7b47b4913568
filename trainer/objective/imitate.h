// Imitate: next-token cross-entropy over the whole library and [EOS] on the best 2N complete sequences of each query.
#pragma once

#include "trainer/objective/objective.h"
#include "trainer/objective/tree_reader.h"

namespace saber {

class Imitate : public Objective {
 public:
  // temperature > 0: the sequences of a query are weighted by softmax(reward / temperature), times their number.
  Imitate(double temperature, const EmbeddingSet& set, const Features& features);
  void add(const TreeReader& reader);

  std::int64_t num_units() const override { return static_cast<std::int64_t>(sequences_.size()); }
  std::vector<std::vector<std::int64_t>> groups() const override;  // by length
  torch::Tensor loss_sum(SaberModel& model, std::span<const std::int64_t> units) const override;
  std::string unit_name(std::int64_t unit) const override;
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
  torch::Tensor library_rows_;               // int64 [K]
  std::vector<std::int64_t> library_index_;  // of each row of the set, -1 outside the library
  std::vector<Sequence> sequences_;
};

}  // namespace saber
