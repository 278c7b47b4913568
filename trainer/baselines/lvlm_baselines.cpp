#include "trainer/baselines/lvlm_baselines.h"

#include <algorithm>
#include <span>

#include "core/error.h"
#include "core/narrow.h"
#include "data/embedding_set_checks.h"
#include "trainer/baselines/orderings.h"
#include "trainer/search/advance.h"

namespace saber {
namespace {

void add(std::vector<float>& sum, std::span<const float> vector) {
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += vector[i];
}

}  // namespace

std::vector<std::int64_t> best_of_deepest(const QueryNodes& nodes) {
  std::vector<std::int64_t> depth;
  std::int64_t best = -1;
  for (std::size_t i = 0; i < nodes.parent.size(); ++i) {  // parents come before their children
    depth.push_back(nodes.parent[i] < 0 ? 0 : depth[to_index(nodes.parent[i])] + 1);
    if (nodes.status[i] != NodeStatus::scored) continue;
    const auto key = [&](std::size_t node) { return std::pair(depth[node], nodes.reward[node]); };
    if (best < 0 || key(i) > key(to_index(best))) best = static_cast<std::int64_t>(i);
  }
  std::vector<std::int64_t> ids;
  for (; best >= 0 && nodes.demonstration[to_index(best)] >= 0; best = nodes.parent[to_index(best)])
    ids.push_back(nodes.demonstration[to_index(best)]);
  std::reverse(ids.begin(), ids.end());
  return ids;
}

LvlmBaselines::LvlmBaselines(const EmbeddingSet& set, std::int64_t shots, std::int64_t seed, const Baselines& others,
                             Scorer& scorer)
    : set_(set), shots_(shots), seed_(seed), others_(others), scorer_(scorer), similarity_(set), rows_by_id_(set) {
  for (const std::int64_t row : similarity_.library()) {
    answers_.push_back(set.text_result[to_index(row)]);
    first_of_.emplace(std::pair(set.text_query[to_index(row)], answers_.back()), row);
  }
  std::sort(answers_.begin(), answers_.end());
  answers_.erase(std::unique(answers_.begin(), answers_.end()), answers_.end());
}

const std::vector<std::string>& LvlmBaselines::names() {
  static const std::vector<std::string> names = {"iqpr", "iq2iq_influence", "oracle_beam"};
  return names;
}

std::vector<float> LvlmBaselines::question_and_answer(std::int64_t query_row, const std::string& answer) const {
  const auto exact = first_of_.find({set_.text_query[to_index(query_row)], answer});
  if (exact != first_of_.end()) {
    const std::span<const float> found = set_.query_result_of(exact->second);
    return {found.begin(), found.end()};
  }
  std::vector<float> sum(to_index(set_.text_width));
  for (const std::int64_t row : similarity_.library()) {
    if (set_.text_result[to_index(row)] == answer) add(sum, set_.query_result_of(row));
  }
  normalise_rows(sum, set_.text_width);
  add(sum, set_.query_of(query_row));
  normalise_rows(sum, set_.text_width);
  return sum;
}

std::vector<std::int64_t> LvlmBaselines::by_pseudo_result(std::int64_t query_row, const std::string& answer) const {
  const std::vector<float> of_text = similarity_.query_result(question_and_answer(query_row, answer));
  std::vector<float> joint = similarity_.image(query_row);
  for (std::size_t i = 0; i < joint.size(); ++i) joint[i] = 0.5F * joint[i] + 0.5F * of_text[i];
  std::vector<ScoredRow> candidates =
      top_rows(similarity_, joint, 4 * shots_, [&](std::int64_t row) { return !set_.same_picture(row, query_row); });
  const auto text_score = [&](const ScoredRow& candidate) {
    const auto& library = similarity_.library();  // ascending
    return of_text[to_index(std::lower_bound(library.begin(), library.end(), candidate.row) - library.begin())];
  };
  // Those of equal texts stay in their order: by the joint score.
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const ScoredRow& a, const ScoredRow& b) { return text_score(a) > text_score(b); });
  candidates.resize(std::min(candidates.size(), to_index(shots_)));
  std::vector<std::int64_t> rows;
  rows.reserve(candidates.size());
  for (const ScoredRow& candidate : candidates) rows.push_back(candidate.row);
  std::reverse(rows.begin(), rows.end());
  return rows;
}

AnswerScorer& LvlmBaselines::answer_scorer() const {
  auto* const found = dynamic_cast<AnswerScorer*>(&scorer_);
  if (found == nullptr) {
    throw_bad_input("is not asked for the probabilities of other answers than the right one", scorer_.identity(),
                    "leave out the rows of eval.also that ask for them");
  }
  return *found;
}

std::optional<std::vector<std::int64_t>> LvlmBaselines::iqpr(std::int64_t query_row) {
  const DemonstrationSequence first{query_row, others_.select("random", std::vector{query_row}).at(0)};
  const auto log_p = answer_scorer().answer_log_probabilities({&first, 1}, answers_).at(0);
  if (!log_p) return std::nullopt;
  const auto best = std::max_element(log_p->begin(), log_p->end()) - log_p->begin();
  return by_pseudo_result(query_row, answers_[to_index(best)]);
}

std::vector<std::int64_t> LvlmBaselines::oracle_beam(std::int64_t query_row) {
  std::int64_t usable = 0;
  for (const std::int64_t row : similarity_.library()) usable += set_.same_picture(row, query_row) ? 0 : 1;
  const PoolSettings pool{"mixed", std::min(kOraclePool, usable), kOracleNearest, seed_};
  std::vector<std::int64_t> candidates = candidate_pool(pool, set_, similarity_, query_row);
  const std::vector<std::int64_t> told = others_.select("oracle", std::vector{query_row}).at(0);
  for (const std::int64_t row : told) {
    if (std::find(candidates.begin(), candidates.end(), row) == candidates.end()) candidates.push_back(row);
  }
  std::vector<std::int64_t> rows;
  for (const std::int64_t id :
       best_of_deepest(run_search(scorer_, BeamSearch(set_, query_row, candidates, kOracleBeam, shots_))))
    rows.push_back(rows_by_id_.find(id).value());
  return rows;
}

std::optional<std::vector<std::int64_t>> LvlmBaselines::select(const std::string& name, std::int64_t query_row) {
  if (name == "iqpr") return iqpr(query_row);
  if (name == "oracle_beam") return oracle_beam(query_row);
  ensure(name == "iq2iq_influence", "one of the names");
  const DemonstrationSequence sequence{query_row, others_.select("iq2iq", std::vector{query_row}).at(0)};
  return influence_ordering(answer_scorer(), sequence, set_.id[to_index(query_row)], seed_, answers_);
}

}  // namespace saber
