// A run's trained model at work on a library, by all ranks together: what `select` and `eval` share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "comm/mpi_session.h"
#include "comm/process_group.h"
#include "launch/load_inputs.h"
#include "trainer/search/selector.h"
#include "trainer/search/sequence_probability.h"

namespace saber {

class RunSelector {
 public:
  // The model of one checkpoint folder over `library`, of which this rank holds its share where model.head is sharded.
  // References must outlive the selector. Throws bad_input as Library, load_trained_model and Selector do. Not
  // collective.
  RunSelector(const Settings& settings, const std::filesystem::path& checkpoint, c10d::ProcessGroup& group,
              const EmbeddingSet& library, const Features& features, const SelectOptions& options);

  const TrainedModel& trained() const { return trained_; }

  // The selections of all rows, in order, on every rank. Where every rank holds the library, blocks of queries go round
  // the ranks; where it is sharded, all ranks work on each block. Collective. When some query has no selection, all
  // ranks throw the bad_input of one such query, and one reports it.
  std::vector<Selection> select(const MpiSession& session, const EmbeddingSet& queries, const Features& query_features,
                                std::span<const std::int64_t> rows);

  // The order of a query's demonstrations that the model finds most probable (list_score.h), of all orders; ties go to
  // the first of all_orderings(). At most kMostReordered rows, and every rank must hold the library. Not collective.
  static constexpr std::int64_t kMostReordered = 5;
  std::vector<std::int64_t> best_ordering(const Features& features, const DemonstrationSequence& sequence);

 private:
  struct Choice;
  void select_own(const EmbeddingSet& queries, const Features& query_features, std::span<const std::int64_t> rows,
                  std::vector<Choice>& mine, std::int64_t& block);
  std::vector<Selection> all_in_order(const std::vector<Choice>& mine, std::int64_t num_queries) const;

  c10d::ProcessGroup& group_;
  TrainedModel trained_;
  Library library_;
  LibraryHead head_;
  std::int64_t shots_;
  Selector selector_;
  torch::Tensor keys_;  // of best_ordering, once it was asked
};

// The queries of the blocks of Selector::kBlock that are dealt to a rank, as positions in the list of queries. Rank 0
// has the most.
std::vector<std::int64_t> positions_of_rank(std::int64_t rank, std::int64_t world_size, std::int64_t num_queries);

}  // namespace saber
