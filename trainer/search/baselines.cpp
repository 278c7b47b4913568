#include "trainer/search/baselines.h"

#include <algorithm>

#include "core/error.h"
#include "core/narrow.h"
#include "core/random.h"

namespace saber {

Baselines::Baselines(const EmbeddingSet& set, std::int64_t shots, std::int64_t seed)
    : set_(set),
      shots_(shots),
      seed_(seed),
      similarity_(set),
      probe_(set, kProbeRidge),
      train_probe_(set, kProbeRidge, {Split::library, Split::train}) {}

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

std::vector<std::int64_t> Baselines::by_answer(const std::vector<std::string>& answers, std::int64_t query_row) const {
  // Cosines lie in [-1, 1]: an answer's rank times 4 outweighs them.
  std::vector<float> scores = similarity_.image(query_row);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::string& answer = set_.text_result[index_of(similarity_.library()[i])];
    const auto rank = std::find(answers.begin(), answers.end(), answer) - answers.begin();
    scores[i] -= 4.0F * static_cast<float>(rank);
  }
  return top_rows(similarity_, scores, shots_, [&](std::int64_t row) {
    return set_.task[index_of(row)] == set_.task[index_of(query_row)] && !set_.same_picture(row, query_row);
  });
}

std::vector<std::int64_t> Baselines::select(const std::string& name, std::int64_t query_row) const {
  if (name == "zero_shot") return {};
  const bool same_task = name.rfind("task_filtered_", 0) == 0;
  const auto allowed = [&](std::int64_t row) {
    return (!same_task || set_.task[index_of(row)] == set_.task[index_of(query_row)]) &&
           !set_.same_picture(row, query_row);
  };
  const std::string kind = same_task ? name.substr(std::string("task_filtered_").size()) : name;
  std::vector<std::int64_t> rows;
  if (kind == "random") {
    std::vector<std::int64_t> candidates;
    std::copy_if(similarity_.library().begin(), similarity_.library().end(), std::back_inserter(candidates), allowed);
    RandomStream stream(narrow<std::uint64_t>(seed_), name, {set_.id[index_of(query_row)]});
    const std::int64_t count = std::min(shots_, size_of(candidates));
    rows = stream.sample(std::move(candidates), count);
  } else if (kind == "i2i") {
    rows = top_rows(similarity_, similarity_.image(query_row), shots_, allowed);
  } else if (kind == "iq2iq") {
    rows = top_rows(similarity_, similarity_.image_and_query(query_row), shots_, allowed);
  } else if (kind == "label_probe") {
    rows = by_answer(probe_.ranked_answers(query_row), query_row);
  } else if (kind == "label_probe_train") {
    rows = by_answer(train_probe_.ranked_answers(query_row), query_row);
  } else if (kind == "oracle") {
    rows = by_answer({set_.text_result[index_of(query_row)]}, query_row);
  } else {
    throw Error(ErrorKind::internal, "no baseline " + name);
  }
  std::reverse(rows.begin(), rows.end());
  return rows;
}

}  // namespace saber
