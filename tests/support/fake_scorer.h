// A scorer whose answers a test knows.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "trainer/reward/scorer.h"

namespace saber::test {

class FakeScorer : public Scorer {
 public:
  using Rule = std::function<std::optional<double>(const DemonstrationSequence&)>;
  explicit FakeScorer(Rule rule) : rule_(std::move(rule)) {}

  std::vector<std::optional<Score>> score(std::span<const DemonstrationSequence> sequences) override {
    calls.emplace_back(sequences.begin(), sequences.end());
    std::vector<std::optional<Score>> out;
    for (const DemonstrationSequence& sequence : sequences) {
      const std::optional<double> value = rule_(sequence);
      out.push_back(value ? std::optional(Score{*value, false}) : std::nullopt);
    }
    return out;
  }
  std::string identity() const override { return "fake"; }
  std::string prompt_template() const override { return "none"; }

  std::vector<std::vector<DemonstrationSequence>> calls;

 private:
  Rule rule_;
};

}  // namespace saber::test
