#include "trainer/baselines/baselines.h"

#include <algorithm>

#include "core/error.h"
#include "core/narrow.h"
#include "core/random.h"

namespace saber {
namespace {

// The best `shots` rows of one query, of the so many that every rank names.
std::vector<std::int64_t> best_of_ranks(const std::vector<std::vector<ScoredRow>>& of_ranks, std::int64_t query,
                                        std::int64_t shots) {
  std::vector<ScoredRow> named;
  for (const auto& of_rank : of_ranks)
    named.insert(named.end(), of_rank.begin() + query * shots, of_rank.begin() + (query + 1) * shots);
  std::erase_if(named, [](const ScoredRow& scored) { return scored.row < 0; });
  std::sort(named.begin(), named.end(), comes_first);
  named.resize(std::min(named.size(), to_index(shots)));
  std::vector<std::int64_t> rows;
  for (const ScoredRow& scored : named) rows.push_back(scored.row);
  return rows;
}

}  // namespace

Baselines::Baselines(const EmbeddingSet& set, std::int64_t shots, std::int64_t seed, c10d::ProcessGroup* group)
    : set_(set),
      shots_(shots),
      seed_(seed),
      group_(group),
      similarity_(set),
      probe_(set, kProbeRidge, {Split::library}, group),
      train_probe_(set, kProbeRidge, {Split::library, Split::train}, group) {}

const std::vector<std::string>& Baselines::names() {
  static const std::vector<std::string> names = {"zero_shot",
                                                 "random",
                                                 "i2i",
                                                 "iq2iq",
                                                 "task_filtered_random",
                                                 "task_filtered_iq2iq",
                                                 "task_filtered_i2i",
                                                 "label_probe",
                                                 "label_probe_train",
                                                 "oracle"};
  return names;
}

// Cosines lie in [-1, 1]: an answer's rank times 4 outweighs them.
std::vector<float> Baselines::by_answer(const std::vector<std::string>& answers, std::int64_t query_row) const {
  std::vector<float> scores = similarity_.image(query_row);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::string& answer = set_.text_result[to_index(similarity_.library()[i])];
    const auto rank = std::find(answers.begin(), answers.end(), answer) - answers.begin();
    scores[i] -= 4.0F * static_cast<float>(rank);
  }
  return scores;
}

// Of the library rows that this rank holds.
std::vector<float> Baselines::scores(const std::string& name, std::int64_t query_row) const {
  if (name == "i2i" || name == "task_filtered_i2i") return similarity_.image(query_row);
  if (name == "iq2iq" || name == "task_filtered_iq2iq") return similarity_.image_and_query(query_row);
  if (name == "label_probe") return by_answer(probe_.ranked_answers(query_row), query_row);
  if (name == "label_probe_train") return by_answer(train_probe_.ranked_answers(query_row), query_row);
  if (name == "oracle") return by_answer({set_.text_result[to_index(query_row)]}, query_row);
  throw Error(ErrorKind::internal, "no baseline " + name);
}

bool Baselines::allows(const std::string& name, std::int64_t query_row, std::int64_t row) const {
  const bool any_task = name == "random" || name == "i2i" || name == "iq2iq";
  return (any_task || set_.task[to_index(row)] == set_.task[to_index(query_row)]) && !set_.same_picture(row, query_row);
}

std::vector<std::int64_t> Baselines::random(const std::string& name, std::int64_t query_row) const {
  std::vector<std::int64_t> candidates = set_.rows_of(Split::library);
  std::erase_if(candidates, [&](std::int64_t row) { return !allows(name, query_row, row); });
  RandomStream stream(narrow<std::uint64_t>(seed_), name, {set_.id[to_index(query_row)]});
  const std::int64_t count = std::min(shots_, size_of(candidates));
  return stream.sample(std::move(candidates), count);
}

std::vector<std::vector<std::int64_t>> Baselines::select(const std::string& name,
                                                         std::span<const std::int64_t> query_rows) const {
  std::vector<std::vector<std::int64_t>> out(query_rows.size());
  if (name == "zero_shot") return out;
  if (name == "random" || name == "task_filtered_random") {
    for (std::size_t q = 0; q < out.size(); ++q) out[q] = random(name, query_rows[q]);
  } else {
    std::vector<ScoredRow> mine;  // `shots` for each query, filled up with rows -1
    for (const std::int64_t query : query_rows) {
      std::vector<ScoredRow> best = top_rows(similarity_, scores(name, query), shots_,
                                             [&](std::int64_t row) { return allows(name, query, row); });
      best.resize(to_index(shots_), {-1, 0});
      mine.insert(mine.end(), best.begin(), best.end());
    }
    std::vector<std::vector<ScoredRow>> of_ranks = {mine};
    if (group_ != nullptr) of_ranks = all_gather_values(*group_, mine, size_of(mine));
    for (std::size_t q = 0; q < out.size(); ++q) out[q] = best_of_ranks(of_ranks, static_cast<std::int64_t>(q), shots_);
  }
  for (auto& rows : out) std::reverse(rows.begin(), rows.end());
  return out;
}

}  // namespace saber
