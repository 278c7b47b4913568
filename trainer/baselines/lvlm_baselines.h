// Selections without training that ask the LVLM before they choose (docs/baselines.md). Everything else about them is
// as in baselines.h. They want the whole library on every rank.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/embedding_set.h"
#include "data/score_tree.h"
#include "trainer/baselines/baselines.h"
#include "trainer/reward/answer_scorer.h"
#include "trainer/reward/scorer.h"
#include "trainer/search/pool.h"

namespace saber {

// Of the longest sequences that a search has scored the one of largest reward, as ids; ties go to the one found first.
std::vector<std::int64_t> best_of_deepest(const QueryNodes& nodes);

class LvlmBaselines {
 public:
  // Of the oracle's search: candidates, of which half are near; sequences that go on at each depth.
  static constexpr std::int64_t kOraclePool = 64, kOracleNearest = 300, kOracleBeam = 8;

  // seed: of the orders and candidates that are drawn. References must outlive this.
  LvlmBaselines(const EmbeddingSet& set, std::int64_t shots, std::int64_t seed, const Baselines& others,
                Scorer& scorer);

  // iqpr         the answer that the LVLM gives after `random`'s demonstrations stands for the query's result: 4 *
  // shots
  //              rows by pictures and by question and result, of these `shots` by question and result
  // iq2iq_influence   iq2iq's demonstrations in the order that DEmO finds (orders.h)
  // oracle_beam  the best sequence of a wide beam search among kOraclePool rows and `oracle`'s; it looks at the answer,
  //              so it is no method but a mark
  static const std::vector<std::string>& names();

  // Library rows in reading order. Nothing when the LVLM failed. The query's result is read by oracle_beam alone.
  std::optional<std::vector<std::int64_t>> select(const std::string& name, std::int64_t query_row);

  // What stands for the embedding of the query's question and this answer: that of the first library row with the same
  // question and answer; without one the direction of the question plus that of all library rows with the answer.
  std::vector<float> question_and_answer(std::int64_t query_row, const std::string& answer) const;

 private:
  AnswerScorer& answer_scorer() const;  // throws bad_input when the LVLM is none
  std::optional<std::vector<std::int64_t>> iqpr(std::int64_t query_row);
  std::vector<std::int64_t> by_pseudo_result(std::int64_t query_row, const std::string& answer) const;
  std::vector<std::int64_t> oracle_beam(std::int64_t query_row);

  const EmbeddingSet& set_;
  std::int64_t shots_, seed_;
  const Baselines& others_;
  Scorer& scorer_;
  Similarity similarity_;
  RowsById rows_by_id_;
  std::vector<std::string> answers_;                                      // of the library, each once, sorted
  std::map<std::pair<std::string, std::string>, std::int64_t> first_of_;  // question and answer -> smallest library row
};

}  // namespace saber
