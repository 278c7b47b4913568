// The settings files under configs/.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "launch/settings.h"
#include "trainer/model/saber_model.h"

namespace saber {
namespace {

namespace fs = std::filesystem;
const fs::path kConfigs = fs::path(SABER_SOURCE_DIR) / "configs";

std::string values_after(const std::vector<fs::path>& files, std::int64_t* parameters = nullptr) {
  Settings settings;
  for (const fs::path& file : files) settings.schema.read_yaml(file.string());
  const SaberModel model(settings.model, EmbeddingWidths{128, 128, 3000}, 1);
  if (parameters != nullptr) {
    *parameters = 0;
    for (const torch::Tensor& p : model->parameters()) *parameters += p.numel();
  }
  return settings.schema.values().dump();
}

TEST(ConfigFiles, EveryVariantIsAModelOfItsOwn) {
  const fs::path demo = kConfigs / "demo.yaml", base = kConfigs / "ablations/base.yaml";
  std::map<std::string, std::string> seen;
  for (const char* set : {"core", "more"}) {
    for (const auto& entry : fs::directory_iterator(kConfigs / "ablations" / set)) {
      const std::string name = entry.path().stem().string();
      const auto [other, is_new] = seen.try_emplace(values_after({demo, base, entry.path()}), name);
      EXPECT_TRUE(is_new) << name << " is " << other->second;
    }
  }
  EXPECT_EQ(seen.at(values_after({demo, base})), "full");
}

TEST(ConfigFiles, TheDemosModelHasTheDocumentedSize) {
  std::int64_t parameters = 0;
  values_after({kConfigs / "demo.yaml"}, &parameters);
  EXPECT_EQ(parameters, 956677) << "docs/model.md says so";
}

TEST(ConfigFiles, LeverLmIsATableOfTheLibrary) {
  std::int64_t parameters = 0;
  values_after({kConfigs / "demo.yaml", kConfigs / "lever-lm.yaml"}, &parameters);
  EXPECT_GT(parameters, 3000 * 128);
}

}  // namespace
}  // namespace saber
