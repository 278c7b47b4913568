// What several commands read before they start: data sets, score trees, trained models. Rank 0 checks first; all ranks
// fail together.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "comm/mpi_session.h"
#include "data/embedding_set.h"
#include "data/score_tree.h"
#include "launch/settings.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/library/library_head.h"
#include "trainer/model/features.h"

namespace saber {

// share: each rank holds its share of the library only.
EmbeddingSet load_embedding_set(const MpiSession& session, const std::string& path, bool share = false);
std::vector<ScoreTree> load_score_trees(const MpiSession& session, const std::vector<std::string>& paths);

// How the ranks hold the library: settings.model.head.
HeadOptions head_options(const Settings& settings, c10d::ProcessGroup& group);

struct TrainedModel {
  SaberModel model{nullptr};
  std::int64_t step = 0;
  std::filesystem::path folder;
};

// The step-… folder of a run folder's newest checkpoint, or the one that is named, the same on all ranks whatever a run
// that still goes on saves meanwhile. It is verified once on every host. Collective; throws bad_input on all ranks when
// there is none.
std::filesystem::path agree_on_checkpoint(const MpiSession& session, const std::filesystem::path& run_or_step_folder);

// One rank of every host but rank 0's, which has done so, verifies the folder. Collective: all ranks fail together.
void verify_on_other_hosts(const MpiSession& session, const std::filesystem::path& step_folder);

// The model of a checkpoint's folder that all ranks agreed on, on `device`, in float32 and without gradients, for a
// library of this data set. Throws bad_input when it was built for embeddings of other widths, or, where it knows the
// library by number alone, for another data set. Not collective.
TrainedModel load_trained_model(const std::filesystem::path& step_folder, const EmbeddingSet& set,
                                const EmbeddingWidths& widths, const torch::Device& device);

}  // namespace saber
