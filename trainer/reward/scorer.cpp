#include "trainer/reward/scorer.h"

#include "core/error.h"

namespace saber {

std::vector<std::optional<std::vector<double>>> Scorer::answer_log_probabilities(std::span<const DemonstrationSequence>,
                                                                                 std::span<const std::string>,
                                                                                 std::optional<std::int64_t>) {
  throw_bad_input("is not asked for the probabilities of other answers than the right one", identity(),
                  "leave out the rows of eval.also that ask for them");
}

}  // namespace saber
