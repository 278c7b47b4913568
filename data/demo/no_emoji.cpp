// Builds without the demo's emoji (SABER_DEMO=OFF): nothing of FreeType, no font.
#include "core/error.h"
#include "data/demo/emoji.h"

namespace saber::demo {

EmojiFont load_emoji(const std::filesystem::path&, const std::filesystem::path&) {
  throw Error(ErrorKind::not_available, "this build cannot draw the demo's emoji: it was built with SABER_DEMO=OFF",
              "saber data demo", "run tools/setup, then tools/build -DSABER_DEMO=ON");
}

}  // namespace saber::demo
