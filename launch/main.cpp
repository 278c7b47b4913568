#include "launch/program.h"

int main(int argc, char** argv) {
  return saber::run_program(argc, argv, saber::built_in_scorers());
}
