// Selections that need no training, to compare SabER with. In all of them the most similar demonstration comes last,
// next to the query, and rows with the query's own picture are left out. Ties go to the smaller row.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/process_group.h"
#include "data/embedding_set.h"
#include "trainer/baselines/label_probe.h"
#include "trainer/library/similarity.h"

namespace saber {

class Baselines {
 public:
  // Of the label probe. Chosen by the share of right predictions on the demo's validation queries: 0.70, 0.73, 0.73,
  // 0.74, 0.73, 0.69 for 0.03, 0.1, 0.3, 1, 3, 10.
  static constexpr double kProbeRidge = 1.0;

  // seed: of the two random ones, which draw from (seed, name, query id). With a group each rank has its share of the
  // set, and constructor and select are collective.
  Baselines(const EmbeddingSet& set, std::int64_t shots, std::int64_t seed, c10d::ProcessGroup* group = nullptr);

  // zero_shot             no demonstration
  // random                any library rows
  // i2i                   largest cosine of the pictures
  // iq2iq                 largest mean cosine of pictures and questions
  // task_filtered_*       the same three among the library rows of the query's task
  // label_probe           rows of the query's task, those with the answer that the probe predicts first, then those
  //                       with its second choice, and so on; within an answer by i2i
  // label_probe_train     the same, where the probe also learns from the answers of the train queries
  // oracle                rows of the query's task that hold its right answer, then others, each by i2i; it looks at
  //                       the answer, so it is no method but a mark
  static const std::vector<std::string>& names();

  // Library rows in reading order, at most `shots` of them, for each query. The same for any number of shares, but that
  // the label probes' predictions are rounded otherwise.
  std::vector<std::vector<std::int64_t>> select(const std::string& name,
                                                std::span<const std::int64_t> query_rows) const;

 private:
  std::vector<std::int64_t> random(const std::string& name, std::int64_t query_row) const;
  bool allows(const std::string& name, std::int64_t query_row, std::int64_t row) const;
  std::vector<float> scores(const std::string& name, std::int64_t query_row) const;
  std::vector<float> by_answer(const std::vector<std::string>& answers, std::int64_t query_row) const;

  const EmbeddingSet& set_;
  std::int64_t shots_;
  std::int64_t seed_;
  c10d::ProcessGroup* group_;
  Similarity similarity_;
  LabelProbe probe_, train_probe_;
};

}  // namespace saber
