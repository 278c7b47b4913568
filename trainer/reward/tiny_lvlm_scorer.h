// The built-in tiny LVLM as a scorer. Each picture is seen once; the keys and values of a prefix that was scored by the
// call before are used again, so that a beam search reads three tokens of demonstration and two of query per candidate.
#pragma once

#include <torch/torch.h>

#include <map>
#include <vector>

#include "core/narrow.h"
#include "data/embedding_set.h"
#include "trainer/lvlm/tiny_lvlm.h"
#include "trainer/reward/answer_scorer.h"
#include "trainer/reward/scorer.h"

namespace saber {

class TinyLvlmScorer : public BlockingScorer, public AnswerScorer {
 public:
  // Computes where `lvlm` is. Throws bad_input when the data set has no pixels of the LVLM's size, answers that the
  // LVLM has no word for, or questions that it has no token for. reuse_prefixes: false reads every sequence whole (for
  // tests).
  TinyLvlmScorer(TinyLvlm lvlm, const EmbeddingSet& set, bool reuse_prefixes = true);

  // The number of a content-free query chooses a question token that no task of the data set uses, the smallest first;
  // its picture is the mean of all that the LVLM was trained on.
  std::vector<std::optional<std::vector<double>>> answer_log_probabilities(
      std::span<const DemonstrationSequence> sequences, std::span<const std::string> answers,
      std::optional<std::int64_t> content_free = {}) override;
  std::int64_t num_content_free() const override { return size_of(unused_questions_); }
  std::int64_t max_shots() const override { return TinyLvlmImpl::kMaxShots; }
  std::string identity() const override { return identity_; }
  std::string prompt_template() const override { return "picture, question, answer; question: /tasks/question"; }

 private:
  std::vector<std::optional<Score>> score_now(std::span<const DemonstrationSequence> sequences, bool judge) override;
  std::vector<std::optional<Score>> score_group(std::span<const DemonstrationSequence> group, bool judge);
  torch::Tensor picture_tokens(const std::vector<std::int64_t>& rows);
  // Rows of cache_ that hold the prefixes (all but the last shot) of the group; nothing when one is missing.
  std::optional<std::vector<std::int64_t>> cached_prefixes(std::span<const DemonstrationSequence> group) const;
  // Tokens of the shots from `first_shot` on and of the query, with positions, [n, 3 * shots + 2, width].
  // unused_question: the query's question token, if it is content-free.
  torch::Tensor tokens(std::span<const DemonstrationSequence> group, std::int64_t first_shot,
                       std::optional<std::int64_t> unused_question = {});

  TinyLvlm lvlm_;
  const EmbeddingSet& set_;
  bool reuse_prefixes_;
  std::string identity_;
  std::vector<std::int64_t> word_, question_;   // of every row
  std::vector<std::int64_t> unused_questions_;  // at most three
  torch::Tensor picture_tokens_;                // [R, width], rows of seen blocks are filled
  std::vector<bool> block_seen_;
  std::int64_t cached_query_ = -1;
  std::map<std::vector<std::int64_t>, std::int64_t> cached_rows_;  // shots of a sequence of the last call -> its row
  KeyValueCache cache_;
};

}  // namespace saber
