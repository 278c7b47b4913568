// The seam to CUDA: cuda.cpp in builds that have it, else no_cuda.cpp, where there is no GPU.
#pragma once

#include <string>

namespace saber {

bool cuda_in_build();

// GPUs that this process sees.
int num_visible_gpus();

// Both throw io, naming `place`, when the GPU does not work.
std::string uuid_of_gpu(int gpu, const std::string& place);
// Makes it the current one of this thread, which starts CUDA on it.
void use_gpu(int gpu, const std::string& place);

}  // namespace saber
