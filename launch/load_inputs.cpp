#include "launch/load_inputs.h"

#include <fmt/format.h>

#include <optional>

#include "core/error.h"
#include "core/log.h"

namespace saber {
namespace {

// Runs `read` on rank 0 and, when that went well, on the others.
template <class T>
T checked_on_root(const MpiSession& session, const std::function<T()>& read) {
  std::optional<T> value;
  session.on_root([&]() -> std::string {
    value.emplace(read());
    return {};
  });
  session.on_all([&] {
    if (!value) value.emplace(read());
  });
  return std::move(*value);
}

SaberModel model_of(const Checkpoint& checkpoint, const EmbeddingWidths& widths) {
  Settings stored;
  stored.schema.restore(checkpoint.config);
  SaberModel model(stored.model, widths, /*seed=*/0);
  model->to(checkpoint.model.begin()->second.scalar_type());
  NamedTensors parameters;
  for (const auto& item : model->named_parameters()) parameters[item.key()] = item.value().detach();
  load_into(parameters, checkpoint.model, (checkpoint.folder / "model.safetensors").string());
  model->to(torch::kFloat32);
  for (torch::Tensor& p : model->parameters()) p.set_requires_grad(false);
  model->eval();
  return model;
}

}  // namespace

EmbeddingSet load_embedding_set(const MpiSession& session, const std::string& path, bool share) {
  if (!share) return checked_on_root<EmbeddingSet>(session, [&] { return read_embedding_set(path); });
  const EmbeddingShare mine{session.rank(), session.world_size(), session.is_root()};
  EmbeddingSet set = checked_on_root<EmbeddingSet>(session, [&] { return read_embedding_set(path, mine); });
  set.fingerprint = session.on_root([&] { return set.fingerprint; });
  return set;
}

std::vector<ScoreTree> load_score_trees(const MpiSession& session, const std::vector<std::string>& paths) {
  return checked_on_root<std::vector<ScoreTree>>(session, [&] {
    std::vector<ScoreTree> trees;
    for (const std::string& path : paths) trees.push_back(read_score_tree(path));
    return trees;
  });
}

HeadOptions head_options(const Settings& settings, c10d::ProcessGroup& group) {
  return {settings.model.head == "sharded" ? &group : nullptr, settings.model.max_logit_mib << 20};
}

std::filesystem::path agree_on_checkpoint(const MpiSession& session, const std::filesystem::path& folder) {
  const std::filesystem::path agreed = session.on_root([&] {
    if (std::filesystem::exists(folder / "manifest.json")) {
      verify_checkpoint(folder);
      return folder.string();
    }
    const auto found = find_newest_checkpoint(folder);
    if (!found) throw_bad_input("holds no checkpoint", folder.string(), "train first, or name another run in run.dir");
    return found->string();
  });
  verify_on_other_hosts(session, agreed);
  return agreed;
}

void verify_on_other_hosts(const MpiSession& session, const std::filesystem::path& step_folder) {
  session.on_all([&] {
    if (session.local_rank() == 0 && !session.is_root()) verify_checkpoint(step_folder);
  });
}

TrainedModel load_trained_model(const std::filesystem::path& folder, const EmbeddingSet& set,
                                const EmbeddingWidths& widths, const torch::Device& device) {
  const Checkpoint checkpoint = load_checkpoint(folder, /*verified_before=*/true);
  const bool id_table = checkpoint.config.at("model").at("kind") == "id_table";
  if (id_table && checkpoint.state.data_fingerprint != set.fingerprint) {
    throw_bad_input(
        fmt::format("was trained on a data set with fingerprint {}, this one has {}; a model of kind id_table "
                    "knows no other library",
                    checkpoint.state.data_fingerprint, set.fingerprint),
        checkpoint.folder.string());
  }
  SaberModel model = model_of(checkpoint, widths);
  model->to(device);
  return {model, checkpoint.state.step, checkpoint.folder};
}

}  // namespace saber
