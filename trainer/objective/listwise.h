// Listwise: at every inner node of the tree the head's softmax over the scored children learns softmax(reward / tau).
#pragma once

#include "data/embedding_set.h"
#include "data/tree_reader.h"
#include "trainer/library/library_head.h"
#include "trainer/model/features.h"
#include "trainer/objective/objective.h"

namespace saber {

class Listwise : public Objective {
 public:
  Listwise(double temperature, const EmbeddingSet& set, const Features& features, const HeadOptions& head = {});
  void add(const TreeReader& reader);

  std::int64_t num_units() const override { return static_cast<std::int64_t>(nodes_.size()); }
  std::vector<std::vector<std::int64_t>> groups() const override;  // by depth
  bool collective_loss() const override { return head_.sharded(); }
  torch::Tensor loss_sum(SaberModel& model, std::span<const std::int64_t> units) const override;
  std::string sample_name(std::int64_t unit) const override;
  std::string fingerprint() const override;

 private:
  // An inner node with at least two scored children; rows of the data set.
  struct Node {
    std::int64_t query = 0;
    std::vector<std::int64_t> prefix, children;
    std::vector<double> rewards;  // of the children
  };

  double temperature_;
  const EmbeddingSet& set_;
  const Features& features_;
  Library library_;
  LibraryHead head_;
  std::vector<Node> nodes_;
};

}  // namespace saber
