// All settings of all commands, in one schema: one YAML file serves every command of a run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "comm/process_group.h"
#include "core/config_schema.h"
#include "data/demo/emoji_vqa.h"
#include "launch/eval_settings.h"
#include "launch/score_settings.h"
#include "launch/select_settings.h"
#include "trainer/lvlm/lvlm_training.h"
#include "trainer/model/model_settings.h"
#include "trainer/reward/scorer_kinds.h"
#include "trainer/train_settings.h"

namespace saber {

struct Settings {
  std::int64_t seed = 0;         // training only
  std::string device;            // auto | cpu | cuda, see comm/own_device.h
  std::string run_folder;        // run.dir
  std::string log_level;         // log.level
  std::int64_t num_threads = 0;  // threads per rank, 0: from the affinity mask
  std::string embeddings;        // data.embeddings
  ScorerSettings scorer;         // lvlm.kind, lvlm.weights
  CommSettings comm;
  demo::DemoSettings demo;
  LvlmTrainSettings lvlm;
  ScoreSettings score;
  ModelSettings model;
  TrainSettings train;
  SelectSettings select;
  EvalSettings eval;
  Schema schema;

  // kinds: of LVLMs that may score.
  explicit Settings(ScorerKinds kinds = built_in_scorers());
  Settings(const Settings&) = delete;  // the schema points into the members
  Settings& operator=(const Settings&) = delete;

  // The LVLM that lvlm.kind names, for a data set that outlives it, on this device. Throws bad_input as MakeScorer.
  std::unique_ptr<Scorer> make_scorer(const EmbeddingSet& set, const at::Device& on) const {
    return kinds_.at(scorer.kind)(scorer, set, on);
  }

 private:
  ScorerKinds kinds_;
};

}  // namespace saber
