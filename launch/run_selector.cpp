#include "launch/run_selector.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "core/error.h"
#include "core/log.h"
#include "core/narrow.h"
#include "trainer/baselines/orderings.h"

namespace saber {
namespace {

constexpr std::int64_t kBlock = Selector::kBlock;

}  // namespace

// A row and its log-probability, as it travels.
struct RunSelector::Choice {
  std::int64_t row = 0;
  double log_probability = 0;
};

RunSelector::RunSelector(const Settings& settings, const std::filesystem::path& checkpoint, c10d::ProcessGroup& group,
                         const EmbeddingSet& library, const Features& features, const SelectOptions& options)
    : group_(group),
      trained_(load_trained_model(checkpoint, library, features.widths(), features.device())),
      library_(library),
      head_(library_, features, head_options(settings, group)),
      shots_(options.shots),
      selector_(trained_.model, head_, options) {}

// block: the one that it works on, for the caller to know when it throws.
void RunSelector::select_own(const EmbeddingSet& queries, const Features& query_features,
                             std::span<const std::int64_t> rows, std::vector<Choice>& mine, std::int64_t& block) {
  const std::int64_t blocks = ceil_div(static_cast<std::int64_t>(rows.size()), kBlock);
  for (block = group_.getRank(); block < blocks; block += group_.getSize()) {
    const auto begin = to_index(block * kBlock);
    const auto own = rows.subspan(begin, std::min(to_index(kBlock), rows.size() - begin));
    for (const Selection& selection : selector_.select(queries, query_features, own)) {
      for (std::size_t i = 0; i < selection.rows.size(); ++i)
        mine.push_back({selection.rows[i], selection.log_probabilities[i]});
    }
  }
}

// Of all ranks, each of which has its queries in order.
std::vector<Selection> RunSelector::all_in_order(const std::vector<Choice>& mine, std::int64_t num_queries) const {
  const std::int64_t world = group_.getSize();
  const auto of_ranks = all_gather_values(group_, mine, size_of(positions_of_rank(0, world, num_queries)) * shots_);
  std::vector<Selection> out(to_index(num_queries));
  for (std::int64_t rank = 0; rank < world; ++rank) {
    std::size_t next = 0;
    for (const std::int64_t query : positions_of_rank(rank, world, num_queries)) {
      for (std::int64_t i = 0; i < shots_; ++i) {
        const Choice& choice = of_ranks[to_index(rank)].at(next++);
        out[to_index(query)].rows.push_back(choice.row);
        out[to_index(query)].log_probabilities.push_back(choice.log_probability);
      }
    }
  }
  return out;
}

std::vector<Selection> RunSelector::select(const MpiSession& session, const EmbeddingSet& queries,
                                           const Features& query_features, std::span<const std::int64_t> rows) {
  const std::int64_t max_shots = trained_.model->settings().max_shots;
  if (session.is_root() && shots_ > max_shots)
    spdlog::warn("{} shots, but the model has positions for {}: later ones reuse the last", shots_, max_shots);
  std::vector<Selection> out;
  std::vector<Choice> mine;
  std::optional<Error> refusal;
  std::int64_t block = 0;  // of the refusal; a sharded library's ranks have the same one
  const auto attempt = [&] {
    try {
      if (head_.sharded())
        out = selector_.select(queries, query_features, rows);
      else
        select_own(queries, query_features, rows, mine, block);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::bad_input) throw;
      refusal = error;
    }
  };
  // Any other error of one rank alone: ranks that work for themselves agree at the end; where they meet on the way, the
  // others would wait for ever, and it ends them.
  if (head_.sharded())
    attempt();
  else
    session.on_all(attempt);
  std::int64_t first = std::numeric_limits<std::int64_t>::max();
  for (const auto& theirs : all_gather_values(group_, std::vector{refusal ? block : first}, 1))
    first = std::min(first, theirs.at(0));
  session.on_all([&] {
    if (refusal && block == first) throw Error(*refusal);
  });
  return head_.sharded() ? out : all_in_order(mine, static_cast<std::int64_t>(rows.size()));
}

std::vector<std::int64_t> RunSelector::best_ordering(const Features& features, const DemonstrationSequence& sequence) {
  ensure(!head_.sharded() && size_of(sequence.shots) <= kMostReordered, "few rows, and the whole library here");
  if (sequence.shots.size() < 2) return sequence.shots;
  const torch::NoGradGuard no_grad;
  if (!keys_.defined()) keys_ = head_.keys(trained_.model);
  std::vector<DemonstrationSequence> sequences;
  for (const std::vector<std::int64_t>& order : all_orderings(sequence.shots))
    sequences.push_back({sequence.query, order});
  const std::vector<double> log_p = sequence_log_probabilities(trained_.model, head_, features, keys_, sequences);
  return sequences[to_index(std::max_element(log_p.begin(), log_p.end()) - log_p.begin())].shots;
}

std::vector<std::int64_t> positions_of_rank(std::int64_t rank, std::int64_t world_size, std::int64_t num_queries) {
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0; i < num_queries; ++i) {
    if (i / kBlock % world_size == rank) out.push_back(i);
  }
  return out;
}

}  // namespace saber
