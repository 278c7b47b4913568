// A device for tests on machines without a GPU. It forgets nothing that a GPU would not forgive: an operation on it
// that is given a tensor of the CPU throws, as do operations that have no deterministic algorithm on a GPU, and code of
// the CPU that reads or writes its memory (data_ptr, accessor) dies of a signal. What it is asked, the CPU computes.
#pragma once

#include <torch/torch.h>

namespace saber::test {

torch::Device pretend_gpu();

}  // namespace saber::test
