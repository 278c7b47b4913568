// Named tensors in one file, format safetensors (https://huggingface.co/docs/safetensors): 8 bytes header length, JSON
// header, data. Nothing in such a file is ever executed.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "trainer/formats/named_tensors.h"

namespace saber {

struct SafetensorsFile {
  NamedTensors tensors;                         // on the CPU, contiguous, owning their memory
  std::map<std::string, std::string> metadata;  // "__metadata__" of the header
};

// The bytes of such a file. Types: float64, float32, float16, bfloat16, int64, int32, uint8. The data start at a
// multiple of 8.
std::string to_safetensors(const NamedTensors& tensors, const std::map<std::string, std::string>& metadata);

// Checks everything before use: header size, JSON, types, shapes without overflow, offsets that tile the data exactly.
// Throws bad_input with the file and the tensor.
SafetensorsFile read_safetensors(const std::filesystem::path& path);

// Copies the tensors of `source` into those of `target` (in place, without autograd). Throws bad_input naming `place`
// when a name is missing or left over, or when a shape or type differs.
void load_into(const NamedTensors& target, const NamedTensors& source, const std::string& place);

}  // namespace saber
