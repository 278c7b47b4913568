#include "launch/settings.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/error.h"

namespace saber {
namespace {

namespace fs = std::filesystem;

std::set<std::string> keys_of(const nlohmann::json& values, const std::string& prefix = {}) {
  std::set<std::string> out;
  for (const auto& [name, value] : values.items()) {
    if (value.is_object()) {
      out.merge(keys_of(value, prefix + name + "."));
    } else {
      out.insert(prefix + name);
    }
  }
  return out;
}

TEST(Settings, EveryKeyIsDeclaredOnceAndHasHelp) {
  const Settings settings;  // a key declared twice throws here
  const std::set<std::string> keys = keys_of(settings.schema.values());
  EXPECT_GT(keys.size(), 40U);
  const std::string help = settings.schema.help();
  for (const std::string& key : keys) {
    const std::size_t first = help.find("\n  " + key + ": ");
    EXPECT_TRUE(first != std::string::npos || help.find("  " + key + ": ") == 0) << key;
    if (first != std::string::npos) {
      EXPECT_EQ(help.find("\n  " + key + ": ", first + 1), std::string::npos) << key;
    }
  }
}

TEST(Settings, NamesThatOthersBuildOnAreThere) {
  const std::set<std::string> keys = keys_of(Settings().schema.values());
  for (const std::string key : {"seed", "device", "run.dir", "data.embeddings", "score.output", "score.max_queries",
                                "score.seed", "train.scores", "train.stages", "train.reinforce.group_size",
                                "train.precision", "model.kind", "lvlm.weights", "eval.output", "select.output"}) {
    EXPECT_TRUE(keys.contains(key)) << key;
  }
}

TEST(Settings, DefaultsAreWithinTheirOwnRules) {
  Settings settings;
  const nlohmann::json values = settings.schema.values();
  for (const std::string& key : keys_of(values)) {
    std::string path = "/" + key;
    std::replace(path.begin(), path.end(), '.', '/');
    const nlohmann::json& value = values.at(nlohmann::json::json_pointer(path));
    if (value.is_array()) continue;
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    EXPECT_NO_THROW(settings.schema.assign(key + "=" + text)) << key;
  }
  EXPECT_EQ(settings.schema.values(), values);
}

TEST(Settings, ValuesTravelToOtherRanks) {
  Settings root, other;
  root.schema.assign("seed=17");
  root.schema.assign("train.scores=a.h5,b.h5");
  root.schema.assign("train.listwise.learning_rate=0.00012345678901234567");
  other.schema.restore(nlohmann::json::parse(root.schema.values().dump()));
  EXPECT_EQ(other.seed, 17);
  EXPECT_EQ(other.train.scores, (std::vector<std::string>{"a.h5", "b.h5"}));
  EXPECT_EQ(other.train.listwise.optimiser.rate, root.train.listwise.optimiser.rate);
}

TEST(Settings, WhatShapesARunIsFixedOnResume) {
  Settings before, after;
  const nlohmann::json stored = before.schema.values();
  for (const std::string change :
       {"seed=9", "model.width=64", "model.mask=paper", "train.listwise.batch_size=32", "train.stages=imitate 2 epochs",
        "train.imitate.learning_rate=0.5", "train.reinforce.leash=0.1", "train.precision=float64"}) {
    Settings changed;
    changed.schema.assign(change);
    EXPECT_THROW(changed.schema.require_match(stored, "step"), Error) << change;
  }
  for (const std::string change : {"run.dir=elsewhere", "device=cpu", "log.level=debug", "train.checkpoint_every=7",
                                   "train.log_every=3", "eval.shots=2"}) {
    after.schema.assign(change);
    EXPECT_NO_THROW(after.schema.require_match(stored, "step")) << change;
  }
}

TEST(Settings, FilesThatShipCanBeRead) {
  std::int64_t read = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(SABER_SOURCE_DIR) / "configs")) {
    if (entry.path().extension() != ".yaml") continue;
    Settings settings;
    EXPECT_NO_THROW(settings.schema.read_yaml(entry.path().string())) << entry.path();
    ++read;
  }
  EXPECT_GE(read, 1);
}

}  // namespace
}  // namespace saber
