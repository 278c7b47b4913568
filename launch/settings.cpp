#include "launch/settings.h"

#include <utility>

namespace saber {

Settings::Settings(ScorerKinds kinds) : kinds_(std::move(kinds)) {
  std::vector<std::string> names;
  for (const auto& [name, make] : kinds_) names.push_back(name);
  schema.integer(seed, "seed", 1, 0, Schema::kAny, "", "seed of training: initial weights and order of the samples",
                 OnResume::must_match);
  schema.choice(device, "device", "auto", {"auto", "cpu", "cuda"},
                "what models compute on: cuda is one GPU per rank; auto is cuda where this build has it and a GPU is "
                "visible, else cpu");
  schema.text(run_folder, "run.dir", "runs/run", "folder of the run: metrics, checkpoints");
  schema.choice(log_level, "log.level", "info", {"debug", "info", "warning", "error"},
                "least severe lines that are printed");
  schema.integer(num_threads, "run.threads", 0, 0, 1024, "threads", "compute threads per rank; 0: cores / local ranks");
  schema.text(embeddings, "data.embeddings", "runs/demo/data/emoji-vqa.h5",
              "embedding data set: an HDF5 file, or a folder of part-*.h5");
  scorer.declare(schema, std::move(names));
  comm.declare(schema);
  demo.declare(schema);
  lvlm.declare(schema);
  score.declare(schema);
  model.declare(schema);
  train.declare(schema);
  select.declare(schema);
  eval.declare(schema);
  schema.renamed("data.seed", "demo.seed");
  schema.renamed("eval.lists", "eval.selections");
  schema.renamed("eval.save_lists", "eval.save_selections");
}

}  // namespace saber
