#include "trainer/train_settings.h"

#include <algorithm>
#include <sstream>

#include "core/parse_number.h"

namespace saber {

std::optional<StageLength> parse_stage(const std::string& text) {
  std::istringstream words(text);
  std::string objective, count, unit, more;
  if (!(words >> objective >> count >> unit) || (words >> more)) return std::nullopt;
  const bool known = objective == "listwise" || objective == "imitate" || objective == "reinforce";
  const bool epochs = unit == "epochs" || unit == "epoch", steps = unit == "steps" || unit == "step";
  StageLength out{objective, 0, epochs};
  const bool number = parse_number(count, out.count);
  if (!known || !number || out.count < 1 || out.count > 1'000'000'000 || !(epochs || steps)) return std::nullopt;
  return out;
}

void LearningSettings::declare(Schema& schema, const std::string& prefix) {
  schema.integer(batch_size, prefix + "batch_size", batch_size, 1, Schema::kAny, "units",
                 "global batch, of all ranks together", OnResume::must_match);
  optimiser.declare(schema, prefix);
}

void TrainSettings::declare(Schema& schema) {
  const OnResume fixed = OnResume::must_match;
  schema.texts(stages, "train.stages", {"listwise 6 epochs"}, "what the run does, one after the other", fixed,
               "'OBJECTIVE NUMBER epochs' or '... steps', OBJECTIVE one of listwise (all scored siblings of the score "
               "trees), imitate (their best sequences), reinforce (sequences that SabER samples and the LVLM scores)",
               [](const std::string& text) { return parse_stage(text).has_value(); });
  schema.texts(scores, "train.scores", {"runs/demo/scores.h5"},
               "score trees to learn from (saber score); reinforce needs none");
  schema.real(listwise_temperature, "train.listwise.temperature", 0.3, 1e-6, 1e6, "",
              "listwise learns softmax(reward / temperature)", fixed);
  listwise.declare(schema, "train.listwise.");
  schema.real(imitate_temperature, "train.imitate.temperature", 0, 0, 1e6, "",
              "a query's sequences weigh softmax(reward / temperature); 0: the same", fixed);
  imitate.declare(schema, "train.imitate.");
  sampling.declare(schema);
  reinforce.batch_size = 48;
  reinforce.optimiser.rate = 3e-4;
  reinforce.optimiser.warmup_steps = 20;
  reinforce.optimiser.weight_decay = 0.01;
  reinforce.declare(schema, "train.reinforce.");
  schema.choice(precision, "train.precision", "float32", {"float32", "float64", "bf16"},
                "type of weights and arithmetic; bf16: matrix products in bfloat16, all else in float32", fixed);
  schema.integer(micro_batch, "train.micro_batch", 0, 0, Schema::kAny, "samples",
                 "that a rank computes at once, to bound its memory; 0: its whole share of the batch", fixed);
  schema.integer(check_weights_every, "train.check_weights_every", 500, 0, Schema::kAny, "steps",
                 "steps between two comparisons of the ranks' weights; 0: never");
  schema.integer(max_steps, "train.max_steps", 0, 0, Schema::kAny, "steps",
                 "stop after so many steps; 0: after all stages");
  schema.integer(log_every, "train.log_every", 50, 1, Schema::kAny, "steps", "steps between two lines on the console");
  schema.integer(checkpoint_every, "train.checkpoint_every", 500, 1, Schema::kAny, "steps",
                 "steps between two checkpoints");
  schema.integer(keep, "train.keep_checkpoints", 2, 1, Schema::kAny, "", "newest checkpoints that stay");
}

bool TrainSettings::has_stage(const std::string& objective) const {
  return std::any_of(stages.begin(), stages.end(),
                     [&](const std::string& text) { return parse_stage(text)->objective == objective; });
}

}  // namespace saber
