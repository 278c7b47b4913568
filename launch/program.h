// The program: start-up, and where every error ends. Rank 0 reads the settings, all ranks receive them, a command runs.
#pragma once

#include "trainer/reward/scorer_kinds.h"

namespace saber {

// kinds: the LVLMs that lvlm.kind may name. Returns the exit status.
int run_program(int argc, char** argv, const ScorerKinds& kinds);

}  // namespace saber
