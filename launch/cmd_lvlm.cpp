// saber lvlm train
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "data/training_scenes.h"
#include "launch/commands.h"
#include "trainer/lvlm/lvlm_training.h"

namespace saber {

int run_lvlm(const CommandContext& context) {
  const MpiSession& session = context.session;
  const Settings& settings = context.settings;
  const torch::Device& device = context.device;
  session.on_root([&]() -> std::string {
    if (session.world_size() > 1)
      throw_bad_input("runs on one rank, started with " + std::to_string(session.world_size()), "saber lvlm train");
    const SceneSet scenes = read_training_scenes(settings.lvlm.scenes);
    TinyLvlm lvlm = train_tiny_lvlm(settings.lvlm, scenes, device);
    const std::filesystem::path output = settings.lvlm.output;
    if (output.has_parent_path()) create_folders(output.parent_path());
    save_tiny_lvlm(output, lvlm);
    spdlog::info("wrote {}", settings.lvlm.output);
    return {};
  });
  return 0;
}

}  // namespace saber
