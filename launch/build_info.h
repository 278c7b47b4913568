// What the program was built with.
#pragma once

#include <string>

namespace saber {

// Compiler, LibTorch and SabER versions on one line, stored in checkpoints.
std::string build_description();

// For `saber --version`: a line for each part.
std::string build_report();

}  // namespace saber
