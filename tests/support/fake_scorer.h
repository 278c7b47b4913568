// A scorer whose answers a test knows.
#pragma once

#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "trainer/reward/answer_scorer.h"
#include "trainer/reward/scorer.h"

namespace saber::test {

class FakeScorer : public BlockingScorer, public AnswerScorer {
 public:
  using Rule = std::function<std::optional<double>(const DemonstrationSequence&)>;
  explicit FakeScorer(Rule rule) : rule_(std::move(rule)) {}

  // Probabilities of the answers after a sequence, to its query or a content-free one.
  using AnswerRule = std::function<std::vector<double>(const DemonstrationSequence&, std::optional<std::int64_t>)>;
  std::vector<std::optional<std::vector<double>>> answer_log_probabilities(
      std::span<const DemonstrationSequence> sequences, std::span<const std::string> answers,
      std::optional<std::int64_t> content_free = {}) override {
    std::vector<std::optional<std::vector<double>>> out;
    for (const DemonstrationSequence& sequence : sequences) {
      asked.push_back(sequence);
      std::vector<double> values = answer_rule(sequence, content_free);
      ensure(values.empty() || values.size() == answers.size(), "a probability for each answer");
      for (double& value : values) value = std::log(value);
      out.push_back(values.empty() ? std::nullopt : std::optional(values));
    }
    return out;
  }
  std::int64_t num_content_free() const override { return content_free_queries; }
  std::string identity() const override { return "fake"; }
  std::string prompt_template() const override { return "none"; }

  std::vector<std::vector<DemonstrationSequence>> calls;
  AnswerRule answer_rule;  // an empty result: the LVLM failed
  std::int64_t content_free_queries = 1;
  std::vector<DemonstrationSequence> asked;  // for answers

 private:
  std::vector<std::optional<Score>> score_now(std::span<const DemonstrationSequence> sequences, bool judge) override {
    calls.emplace_back(sequences.begin(), sequences.end());
    std::vector<std::optional<Score>> out;
    for (const DemonstrationSequence& sequence : sequences) {
      const std::optional<double> value = rule_(sequence);
      out.push_back(value ? std::optional(Score{*value, judge ? std::optional(false) : std::nullopt}) : std::nullopt);
    }
    return out;
  }

  Rule rule_;
};

}  // namespace saber::test
