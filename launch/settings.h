// All settings of all commands, in one schema: one YAML file serves every command of a run.
#pragma once

#include <cstdint>
#include <string>

#include "comm/process_group.h"
#include "core/config_schema.h"
#include "data/demo/emoji_vqa.h"
#include "launch/eval_settings.h"
#include "launch/score_settings.h"
#include "launch/select_settings.h"
#include "trainer/lvlm/lvlm_training.h"
#include "trainer/model/model_settings.h"
#include "trainer/train_settings.h"

namespace saber {

struct Settings {
  std::int64_t seed = 0;         // training only
  std::string device;            // auto | cpu | cuda, see comm/own_device.h
  std::string run_folder;        // run.dir
  std::string log_level;         // log.level
  std::int64_t num_threads = 0;  // threads per rank, 0: from the affinity mask
  std::string embeddings;        // data.embeddings
  std::string lvlm_weights;      // lvlm.weights
  CommSettings comm;
  demo::DemoSettings demo;
  LvlmTrainSettings lvlm;
  ScoreSettings score;
  ModelSettings model;
  TrainSettings train;
  SelectSettings select;
  EvalSettings eval;
  Schema schema;

  Settings();
  Settings(const Settings&) = delete;  // the schema points into the members
  Settings& operator=(const Settings&) = delete;
};

}  // namespace saber
