// Initial values of SabER's parameters: each drawn from (seed, its name) alone, so that they depend on no order and no
// rank.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace saber {

// Linear weights: normal, variance 1 / fan-in, times 1 / sqrt(2 L) where they end a residual branch of the L blocks;
// biases 0; normalisation 1 and 0; [BOS] and [TASK] unit variance; positions 0.02. The head starts at similarity:
// projections of the fusion are the identity (or have orthonormal rows or columns), its gate is 1/2, head and [EOS] key
// are 0, the scale is e^2.3. Without that start the projections and the head are drawn like other matrices, and the
// scale is 1.
void initialise(torch::nn::Module& model, std::uint64_t seed, bool similarity = true);

}  // namespace saber
