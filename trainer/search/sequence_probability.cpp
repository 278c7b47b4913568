#include "trainer/search/sequence_probability.h"

#include "core/error.h"
#include "core/narrow.h"

namespace saber {

SequencePositions::SequencePositions(const Library& library, std::span<const DemonstrationSequence> sequences) {
  for (const DemonstrationSequence& sequence : sequences) {
    ensure(!sequence.shots.empty() && (items_.empty() || size_of(sequence.shots) == length_),
           "the sequences have one length");
    length_ = size_of(sequence.shots);
    if (queries_.empty() || queries_.back() != sequence.query) queries_.push_back(sequence.query);
    of_sequence_.push_back(size_of(queries_) - 1);
    const auto own = library.same_picture(library.set(), sequence.query);
    std::vector<std::int64_t> unusable(own.begin(), own.end());
    for (const std::int64_t row : sequence.shots) {
      items_.push_back(library.item_of(row));
      unusable_.push_back(unusable);
      unusable.push_back(items_.back());
    }
    prefixes_.insert(prefixes_.end(), items_.end() - length_, items_.end() - 1);
  }
}

SoftmaxRows SequencePositions::rows() const {
  return {rows_tensor(items_), padded_rows(unusable_)};
}

torch::Tensor SequencePositions::read(SaberModel& model, const LibraryHead& head, const Features& features,
                                      const torch::Tensor& keys) const {
  const torch::Tensor prefix = head.items(model, rows_tensor(prefixes_), keys);
  const QueryState state = model->read(features.queries(queries_)).select(rows_tensor(of_sequence_).to(keys.device()));
  return model->choose(state, prefix.view({size_of(of_sequence_), length_ - 1, keys.size(1)})).flatten(0, 1);
}

std::vector<double> sequence_log_probabilities(SaberModel& model, const LibraryHead& head, const Features& features,
                                               const torch::Tensor& keys,
                                               std::span<const DemonstrationSequence> sequences) {
  if (sequences.empty()) return {};
  const torch::NoGradGuard no_grad;
  const SequencePositions lists(head.library(), sequences);
  const torch::Tensor z = lists.read(model, head, features, keys);
  const torch::Tensor log_p = head.log_softmax(model, z, keys, lists.rows(), /*with_end=*/false);
  const torch::Tensor sums = log_p.to(torch::kCPU, torch::kFloat64)
                                 .view({static_cast<std::int64_t>(sequences.size()), -1})
                                 .sum(1)
                                 .contiguous();
  return {sums.data_ptr<double>(), sums.data_ptr<double>() + sums.numel()};
}

}  // namespace saber
