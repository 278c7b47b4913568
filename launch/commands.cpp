#include "launch/commands.h"

#include <algorithm>

#include "core/error.h"

namespace saber {
namespace {

// `more`, beside what every command reads.
std::vector<std::string> with_common(std::vector<std::string> more) {
  const std::vector<std::string> common = {"log.level", "run.threads", "comm."};
  more.insert(more.begin(), common.begin(), common.end());
  return more;
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> table = {
      {.name = "data",
       .help = "build the demo's data set; check or describe a data set",
       .actions = {"demo", "check", "describe"},
       .reads = with_common({"data.embeddings", "demo.", "lvlm.weights"}),
       .uses_models = false,
       .run = run_data},
      {.name = "lvlm",
       .help = "train the built-in tiny LVLM",
       .actions = {"train"},
       .reads = with_common({"device", "lvlm."}),
       .run = run_lvlm},
      {.name = "score",
       .help = "search good sequences by the LVLM's scores; writes the score tree",
       .reads = with_common({"device", "data.embeddings", "lvlm.kind", "lvlm.weights", "model.head", "score."}),
       .run = run_score},
      {.name = "train",
       .help = "train SabER from score trees and sampled sequences; resumes by itself",
       .reads = with_common(
           {"seed", "device", "run.dir", "data.embeddings", "lvlm.kind", "lvlm.weights", "model.", "train."}),
       .exchange = Exchange::gradients,
       .patient = false,
       .run = run_train},
      {.name = "select",
       .help = "queries in, ordered demonstrations out",
       .reads = with_common({"device", "run.dir", "data.embeddings", "model.head", "model.max_logit_mib", "select."}),
       .exchange = Exchange::sharded_selections,
       .run = run_select},
      {.name = "eval",
       .help = "SabER beside selections that need no training",
       .reads = with_common({"device", "run.dir", "data.embeddings", "lvlm.kind", "lvlm.weights", "model.head",
                             "model.max_logit_mib", "eval."}),
       .exchange = Exchange::sharded_selections,
       .run = run_eval},
  };
  return table;
}

const Command& command_of(const std::string& name) {
  const auto found =
      std::find_if(commands().begin(), commands().end(), [&](const Command& command) { return command.name == name; });
  ensure(found != commands().end(), "a command of the table");
  return *found;
}

}  // namespace saber
