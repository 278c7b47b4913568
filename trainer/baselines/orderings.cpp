#include "trainer/baselines/orderings.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "core/narrow.h"
#include "core/random.h"

namespace saber {
namespace {

using Probabilities = std::vector<double>;

double entropy_of(const Probabilities& probabilities) {
  double sum = 0;
  for (const double p : probabilities) sum -= p > 0 ? p * std::log(p) : 0.0;
  return sum;
}

std::vector<Ordering> candidate_orderings(const DemonstrationSequence& sequence, std::int64_t query_id,
                                          std::int64_t seed) {
  std::vector<std::int64_t> rows = sequence.shots;
  std::sort(rows.begin(), rows.end());
  double count = 1;
  for (std::size_t i = 2; i <= rows.size(); ++i) count *= static_cast<double>(i);
  if (count <= static_cast<double>(kMostOrderings)) return all_orderings(rows);
  std::vector<Ordering> out;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(kMostOrderings); ++i) {
    RandomStream(narrow<std::uint64_t>(seed), "order", {query_id, i}).shuffle(out.emplace_back(rows));
  }
  return out;
}

// P of the answers for each sequence; nothing when the LVLM failed on one.
std::optional<std::vector<Probabilities>> ask(AnswerScorer& scorer, std::span<const DemonstrationSequence> sequences,
                                              std::span<const std::string> answers,
                                              std::optional<std::int64_t> content_free = {}) {
  std::vector<Probabilities> out;
  for (const auto& log_p : scorer.answer_log_probabilities(sequences, answers, content_free)) {
    if (!log_p) return std::nullopt;
    Probabilities& probabilities = out.emplace_back(*log_p);
    for (double& value : probabilities) value = std::exp(value);
  }
  return out;
}

}  // namespace

std::vector<Ordering> all_orderings(std::vector<std::int64_t> rows) {
  std::sort(rows.begin(), rows.end());
  std::vector<Ordering> out;
  do {
    out.push_back(rows);
  } while (std::next_permutation(rows.begin(), rows.end()));
  return out;
}

std::vector<std::size_t> fairest_orderings(std::span<const Probabilities> content_free, std::size_t kept) {
  std::vector<std::pair<double, std::size_t>> by_entropy;
  for (std::size_t i = 0; i < content_free.size(); ++i) by_entropy.emplace_back(-entropy_of(content_free[i]), i);
  std::sort(by_entropy.begin(), by_entropy.end());
  by_entropy.resize(std::min(kept, by_entropy.size()));
  std::vector<std::size_t> out;
  for (const auto& [negative_entropy, order] : by_entropy) out.push_back(order);
  return out;
}

std::size_t most_influential_ordering(std::span<const std::size_t> fairest, std::span<const Probabilities> content_free,
                                      std::span<const Probabilities> with_query) {
  std::size_t best = 0;
  double largest = 0;
  for (std::size_t i = 0; i < fairest.size(); ++i) {
    const auto first = std::max_element(with_query[i].begin(), with_query[i].end());
    const double influence = *first - content_free[fairest[i]][to_index(first - with_query[i].begin())];
    if (i > 0 && influence <= largest) continue;
    best = fairest[i];
    largest = influence;
  }
  return best;
}

std::optional<Ordering> influence_ordering(AnswerScorer& scorer, const DemonstrationSequence& sequence,
                                           std::int64_t query_id, std::int64_t seed,
                                           std::span<const std::string> answers) {
  const std::vector<Ordering> orders = candidate_orderings(sequence, query_id, seed);
  std::vector<DemonstrationSequence> sequences;
  for (const Ordering& order : orders) sequences.push_back({sequence.query, order});
  const std::int64_t queries = scorer.num_content_free();
  if (queries == 0)
    throw_bad_input("asks for iq2iq_influence, but the LVLM knows no query without content", "eval.also");
  std::vector<Probabilities> content_free(orders.size(), Probabilities(answers.size()));
  for (std::int64_t c = 0; c < queries; ++c) {
    const auto found = ask(scorer, sequences, answers, c);
    if (!found) return std::nullopt;
    for (std::size_t i = 0; i < orders.size(); ++i) {
      for (std::size_t a = 0; a < answers.size(); ++a)
        content_free[i][a] += (*found)[i][a] / static_cast<double>(queries);
    }
  }
  const std::vector<std::size_t> fairest = fairest_orderings(content_free, kFairestKept);
  std::vector<DemonstrationSequence> kept;
  for (const std::size_t order : fairest) kept.push_back(sequences[order]);
  const auto with_query = ask(scorer, kept, answers);
  if (!with_query) return std::nullopt;
  return orders[most_influential_ordering(fairest, content_free, *with_query)];
}

}  // namespace saber
