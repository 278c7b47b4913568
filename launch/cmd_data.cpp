// saber data demo | check | describe
#include <fmt/format.h>

#include <filesystem>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "data/demo/emoji_vqa.h"
#include "data/demo/scenes.h"
#include "data/embedding_set.h"
#include "launch/commands.h"
#include "trainer/lvlm/tiny_lvlm.h"

namespace saber {
namespace {

void build_demo(const Settings& settings) {
  const std::filesystem::path folder = settings.demo.folder;
  TinyLvlm lvlm{nullptr};  // first of all: nothing is written when it cannot be read
  if (!settings.demo.scenes_only) {
    lvlm = load_tiny_lvlm(settings.scorer.weights);
    if (lvlm->picture_height() != demo::kSceneSize || lvlm->picture_width() != demo::kSceneSize) {
      throw_bad_input(fmt::format("wants pictures of {}x{} pixels, the demo has {}x{}", lvlm->picture_height(),
                                  lvlm->picture_width(), demo::kSceneSize, demo::kSceneSize),
                      settings.scorer.weights);
    }
  }
  demo::EmojiVqa built = demo::build_emoji_vqa(settings.demo);
  create_folders(folder);
  write_scene_set(folder / "lvlm.h5", built.scenes);
  spdlog::info("wrote {} ({} scenes)", (folder / "lvlm.h5").string(), built.scenes.num_scenes);
  if (settings.demo.scenes_only) return;
  built.set.image = embed_pictures(lvlm, built.set.pixels, built.set.num_rows);
  write_embedding_set(folder / "emoji-vqa.h5", built.set);
  spdlog::info("wrote {} ({} rows)", (folder / "emoji-vqa.h5").string(), built.set.num_rows);
}

std::string describe(const EmbeddingSet& set) {
  std::string out = fmt::format("rows {}, image width {}, text width {}, fingerprint {}\n", set.num_rows,
                                set.image_width, set.text_width, set.fingerprint);
  for (const Split split : {Split::library, Split::train, Split::validation, Split::test}) {
    out += fmt::format("  {:<12}{}\n", name_of(split), set.rows_of(split).size());
  }
  out += fmt::format("{} tasks\n", set.num_tasks());
  for (std::int64_t t = 0; t < set.num_tasks(); ++t) {
    const auto rows = std::count(set.task.begin(), set.task.end(), t);
    const auto i = static_cast<std::size_t>(t);
    out += fmt::format("  {:<20}{:>6} rows  {}\n", set.tasks.name[i], rows, set.tasks.short_instruction[i]);
  }
  return out;
}

}  // namespace

int run_data(const CommandContext& context) {
  const MpiSession& session = context.session;
  const Settings& settings = context.settings;
  const std::string& action = context.action;
  session.on_root([&]() -> std::string {
    if (action == "demo") {
      build_demo(settings);
      return {};
    }
    const EmbeddingSet set = read_embedding_set(settings.embeddings);
    if (action == "check") {
      fmt::print("{}: {} rows, all checks passed\n", settings.embeddings, set.num_rows);
    } else {
      fmt::print("{}", describe(set));
    }
    return {};
  });
  return 0;
}

}  // namespace saber
