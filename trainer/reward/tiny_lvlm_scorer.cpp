#include "trainer/reward/tiny_lvlm_scorer.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

constexpr std::int64_t kPictureBlock = 64;
// Matrix products of very few rows differ in the last bits from larger ones: smaller batches are padded to this.
constexpr std::int64_t kMinBatch = 8;
constexpr std::size_t kContentFree = 3;  // queries, as the authors of DEmO use (docs/baselines.md)
constexpr std::int64_t kTokensPerShot = TinyLvlmImpl::kTokensPerShot;

void require_readable(const DemonstrationSequence& sequence) {
  if (size_of(sequence.shots) <= TinyLvlmImpl::kMaxShots) return;
  throw_bad_input(
      fmt::format("{} shots, the tiny LVLM reads at most {}", sequence.shots.size(), TinyLvlmImpl::kMaxShots));
}

// The sequences, the first of them again and again until there are kMinBatch.
std::vector<DemonstrationSequence> padded_batch(std::span<const DemonstrationSequence> group) {
  std::vector<DemonstrationSequence> out(group.begin(), group.end());
  while (size_of(out) < kMinBatch) out.push_back(out.front());
  return out;
}

}  // namespace

TinyLvlmScorer::TinyLvlmScorer(TinyLvlm lvlm, const EmbeddingSet& set, bool reuse_prefixes)
    : lvlm_(std::move(lvlm)), set_(set), reuse_prefixes_(reuse_prefixes) {
  identity_ = "tiny-lvlm " + fingerprint_of(lvlm_);
  if (set.pixels.empty() || set.pixel_height != lvlm_->picture_height() || set.pixel_width != lvlm_->picture_width()) {
    throw_bad_input(fmt::format("holds pictures of {}x{} pixels, the tiny LVLM wants {}x{}", set.pixel_height,
                                set.pixel_width, lvlm_->picture_height(), lvlm_->picture_width()),
                    "/pixels");
  }
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    word_.push_back(set.text_result.empty() ? -1 : lvlm_->word_of(set.text_result[to_index(row)]));
    if (word_.back() < 0) {
      throw_bad_input(fmt::format("holds '{}', which the tiny LVLM has no word for",
                                  set.text_result.empty() ? "" : set.text_result[to_index(row)]),
                      fmt::format("/text/result row {}", row),
                      "it knows the answers that it was trained on; docs/own-data.md says how to train one");
    }
    question_.push_back(set.tasks.question[to_index(set.task[to_index(row)])]);
    if (question_.back() < 0 || question_.back() >= lvlm_->num_questions()) {
      throw_bad_input(
          fmt::format("holds {}, the tiny LVLM knows questions 0 to {}", question_.back(), lvlm_->num_questions() - 1),
          "/tasks/question");
    }
  }
  for (std::int64_t q = 0; q < lvlm_->num_questions() && unused_questions_.size() < kContentFree; ++q) {
    if (std::find(set.tasks.question.begin(), set.tasks.question.end(), q) == set.tasks.question.end())
      unused_questions_.push_back(q);
  }
  picture_tokens_ = torch::empty({set.num_rows, DecoderImpl::kWidth}, lvlm_->device());
  block_seen_.resize(to_index(ceil_div(set.num_rows, kPictureBlock)));
}

torch::Tensor TinyLvlmScorer::picture_tokens(const std::vector<std::int64_t>& rows) {
  const std::int64_t bytes = 3 * set_.pixel_height * set_.pixel_width;
  for (const std::int64_t row : rows) {
    const std::int64_t block = row / kPictureBlock, first = block * kPictureBlock;
    if (block_seen_[to_index(block)]) continue;
    const std::int64_t count = std::min(kPictureBlock, set_.num_rows - first);
    torch::Tensor pixels = torch::zeros({kPictureBlock, 3, set_.pixel_height, set_.pixel_width}, torch::kUInt8);
    for (std::int64_t i = 0; i < count; ++i)
      std::ranges::copy(set_.pixels_of(first + i), pixels.data_ptr<std::uint8_t>() + i * bytes);
    const torch::Tensor seen = lvlm_->picture_token(lvlm_->standardise(lvlm_->see(pixels.to(lvlm_->device()))));
    picture_tokens_.narrow(0, first, count).copy_(seen.narrow(0, 0, count));
    block_seen_[to_index(block)] = true;
  }
  return picture_tokens_.index_select(0, torch::tensor(rows).to(lvlm_->device()));
}

torch::Tensor TinyLvlmScorer::tokens(std::span<const DemonstrationSequence> group, std::int64_t first_shot,
                                     std::optional<std::int64_t> unused_question) {
  const auto batch = static_cast<std::int64_t>(group.size());
  std::vector<std::int64_t> rows, questions, words;
  for (const DemonstrationSequence& sequence : group) {
    for (auto shot = sequence.shots.begin() + first_shot; shot != sequence.shots.end(); ++shot) rows.push_back(*shot);
    rows.push_back(sequence.query);
  }
  for (const std::int64_t row : rows) {
    questions.push_back(question_[to_index(row)]);
    words.push_back(word_[to_index(row)]);
  }
  const std::int64_t items = size_of(rows) / batch, count = (items - 1) * kTokensPerShot + 2;
  torch::Tensor pictures = picture_tokens(rows);
  if (unused_question) {
    const torch::Tensor mean = torch::zeros({1, VisionTowerImpl::kWidth}, pictures.options());
    pictures.view({batch, items, DecoderImpl::kWidth}).select(1, items - 1).copy_(lvlm_->picture_token(mean));
    for (std::int64_t i = 1; i <= batch; ++i) questions[to_index(i * items - 1)] = *unused_question;
  }
  // The query's own answer token is built like the others and cut off before anything reads it.
  const torch::Tensor question = lvlm_->question_token(torch::tensor(questions).to(lvlm_->device()));
  const torch::Tensor answer = lvlm_->answer_token(torch::tensor(words).to(lvlm_->device()));
  const torch::Tensor triples = torch::stack({pictures, question, answer}, 1);
  return triples.view({batch, items * kTokensPerShot, DecoderImpl::kWidth}).narrow(1, 0, count) +
         lvlm_->positions(first_shot * kTokensPerShot, count);
}

std::optional<std::vector<std::int64_t>> TinyLvlmScorer::cached_prefixes(
    std::span<const DemonstrationSequence> group) const {
  if (!reuse_prefixes_ || cached_query_ != group[0].query || group[0].shots.size() < 2) return std::nullopt;
  std::vector<std::int64_t> out;
  for (const DemonstrationSequence& sequence : group) {
    const auto found = cached_rows_.find({sequence.shots.begin(), sequence.shots.end() - 1});
    if (found == cached_rows_.end()) return std::nullopt;
    out.push_back(found->second);
  }
  return out;
}

std::vector<std::optional<Score>> TinyLvlmScorer::score_group(std::span<const DemonstrationSequence> group,
                                                              bool judge) {
  const std::vector<DemonstrationSequence> padded = padded_batch(group);
  const std::int64_t shots = size_of(group[0].shots);
  const std::optional<std::vector<std::int64_t>> prefixes = cached_prefixes(padded);

  KeyValueCache cache;
  if (prefixes) cache = cache_.select(torch::tensor(*prefixes).to(lvlm_->device()), (shots - 1) * kTokensPerShot);
  const torch::Tensor logits = lvlm_->decoder()->extend(tokens(padded, prefixes ? shots - 1 : 0), cache);
  const torch::Tensor log_p = logits.log_softmax(1).cpu().to(torch::kFloat64).contiguous();
  const torch::Tensor best = judge ? logits.argmax(1).cpu().contiguous() : torch::Tensor();

  std::vector<std::optional<Score>> out;
  const std::int64_t answer = word_[to_index(group[0].query)], vocabulary = log_p.size(1);
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(group.size()); ++i) {
    const double value = log_p.data_ptr<double>()[i * vocabulary + answer];
    if (!std::isfinite(value)) {
      out.emplace_back();
      continue;
    }
    Score& score = out.emplace_back(Score{value, {}}).value();
    if (judge) score.correct = best.data_ptr<std::int64_t>()[i] == answer;
  }
  cached_query_ = group[0].query;
  cache_ = std::move(cache);
  cached_rows_.clear();
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(group.size()); ++i) cached_rows_[group[to_index(i)].shots] = i;
  return out;
}

std::vector<std::optional<Score>> TinyLvlmScorer::score_now(std::span<const DemonstrationSequence> sequences,
                                                            bool judge) {
  const torch::NoGradGuard no_grad;
  std::vector<std::optional<Score>> out;
  for (std::size_t begin = 0; begin < sequences.size();) {
    std::size_t end = begin;
    const DemonstrationSequence& first = sequences[begin];
    require_readable(first);
    while (end < sequences.size() && sequences[end].query == first.query &&
           sequences[end].shots.size() == first.shots.size())
      ++end;
    for (std::optional<Score>& score : score_group(sequences.subspan(begin, end - begin), judge)) out.push_back(score);
    begin = end;
  }
  return out;
}

std::vector<std::optional<std::vector<double>>> TinyLvlmScorer::answer_log_probabilities(
    std::span<const DemonstrationSequence> sequences, std::span<const std::string> answers,
    std::optional<std::int64_t> content_free) {
  const torch::NoGradGuard no_grad;
  std::optional<std::int64_t> question;
  if (content_free) question = unused_questions_.at(to_index(*content_free));
  std::vector<std::int64_t> words;
  for (const std::string& answer : answers) {
    words.push_back(lvlm_->word_of(answer));
    ensure(words.back() >= 0, "answers are words of the LVLM");
  }
  std::vector<std::optional<std::vector<double>>> out;
  for (std::size_t begin = 0, end = 0; begin < sequences.size(); begin = end) {
    require_readable(sequences[begin]);
    while (end < sequences.size() && sequences[end].shots.size() == sequences[begin].shots.size()) ++end;
    const std::vector<DemonstrationSequence> batch = padded_batch(sequences.subspan(begin, end - begin));
    KeyValueCache cache;  // of this call alone: what score() keeps belongs to the query it read last
    const torch::Tensor logits = lvlm_->decoder()->extend(tokens(batch, 0, question), cache).cpu().to(torch::kFloat64);
    const torch::Tensor log_p = logits.index_select(1, torch::tensor(words)).log_softmax(1).contiguous();
    for (std::size_t i = 0; i < end - begin; ++i) {
      const double* const row = log_p.data_ptr<double>() + i * words.size();
      const bool finite = std::all_of(row, row + words.size(), [](double value) { return std::isfinite(value); });
      out.push_back(finite ? std::optional(std::vector<double>(row, row + words.size())) : std::nullopt);
    }
  }
  return out;
}

}  // namespace saber
