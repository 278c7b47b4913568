#include "trainer/search/selector.h"

#include <fmt/format.h>

#include <limits>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/narrow.h"

namespace saber {
namespace {

constexpr std::int64_t kBlock =
    64;  // queries per forward pass; shorter blocks are padded, so that bits do not depend on it

std::optional<std::uint64_t> picture_hash(const EmbeddingSet& set, std::int64_t row) {
  if (!set.image_uri.empty()) {
    const std::string& uri = set.image_uri[index_of(row)];
    return uri.empty() ? std::nullopt : std::optional(hash64(uri));
  }
  if (set.pixels.empty()) return std::nullopt;
  const std::int64_t bytes = 3 * set.pixel_height * set.pixel_width;
  return hash64({reinterpret_cast<const char*>(set.pixels.data()) + row * bytes, index_of(bytes)});
}

}  // namespace

PictureIndex::PictureIndex(const EmbeddingSet& set, const std::vector<std::int64_t>& rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (const auto hash = picture_hash(set, rows[i])) positions_[*hash].push_back(static_cast<std::int64_t>(i));
  }
}

std::span<const std::int64_t> PictureIndex::positions_of(const EmbeddingSet& other, std::int64_t row) const {
  const auto hash = picture_hash(other, row);
  const auto found = hash ? positions_.find(*hash) : positions_.end();
  return found == positions_.end() ? std::span<const std::int64_t>{} : std::span(found->second);
}

Selector::Selector(SaberModel model, const EmbeddingSet& library, const Features& features)
    : model_(std::move(model)), library_rows_(library.rows_of(Split::library)), pictures_(library, library_rows_) {
  const torch::NoGradGuard no_grad;
  if (library_rows_.empty()) throw_bad_input("has no library rows", "/split");
  keys_ = features.fuse(model_, rows_tensor(library_rows_));
}

std::vector<Selection> Selector::select(const EmbeddingSet& queries, const Features& query_features,
                                        std::span<const std::int64_t> rows, std::int64_t shots) {
  const torch::NoGradGuard no_grad;
  if (shots > model_->settings().max_shots) {
    spdlog::warn("{} shots, but the model has positions for {}: later ones reuse the last", shots,
                 model_->settings().max_shots);
  }
  std::vector<Selection> out;
  for (std::size_t begin = 0; begin < rows.size(); begin += kBlock) {
    select_block(queries, query_features, rows.subspan(begin, std::min<std::size_t>(kBlock, rows.size() - begin)),
                 shots, out);
  }
  return out;
}

void Selector::select_block(const EmbeddingSet& queries, const Features& query_features,
                            std::span<const std::int64_t> rows, std::int64_t shots, std::vector<Selection>& out) {
  std::vector<std::int64_t> padded(rows.begin(), rows.end());
  padded.resize(kBlock, rows.front());
  torch::Tensor unusable = torch::zeros({kBlock, size_of(library_rows_)}, torch::kBool);
  for (std::size_t b = 0; b < padded.size(); ++b) {
    for (const std::int64_t position : pictures_.positions_of(queries, padded[b]))
      unusable[static_cast<std::int64_t>(b)][position] = true;
  }
  if ((unusable.logical_not().sum(1) < shots).any().item<bool>()) {
    throw_bad_input(fmt::format("{} shots wanted, the library has {} rows", shots, library_rows_.size()));
  }
  const QueryBatch batch = query_features.queries(padded);
  torch::Tensor chosen = torch::empty({kBlock, 0, keys_.size(1)}, keys_.options());
  std::vector<Selection> selections(padded.size());
  for (std::int64_t i = 0; i < shots; ++i) {
    const torch::Tensor logits = torch::matmul(model_(batch, chosen).select(1, i), keys_.t())
                                     .masked_fill(unusable, -std::numeric_limits<double>::infinity());
    const torch::Tensor best = logits.argmax(1);
    const torch::Tensor log_p = logits.log_softmax(1).gather(1, best.unsqueeze(1)).to(torch::kFloat64);
    unusable.scatter_(1, best.unsqueeze(1), true);
    chosen = torch::cat({chosen, keys_.index_select(0, best).unsqueeze(1)}, 1);
    for (std::size_t b = 0; b < padded.size(); ++b) {
      selections[b].rows.push_back(library_rows_[index_of(best.data_ptr<std::int64_t>()[b])]);
      selections[b].log_probabilities.push_back(log_p.data_ptr<double>()[b]);
    }
  }
  for (std::size_t b = 0; b < rows.size(); ++b) out.push_back(std::move(selections[b]));
}

}  // namespace saber
