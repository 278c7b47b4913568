// Pictures of a data set as PNG, for whoever shows them to an LVLM.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace saber {

// pixels: [3, height, width] bytes, planes red, green, blue. Returns "data:image/png;base64,...". The same pixels give
// the same text.
std::string png_data_uri(std::span<const std::uint8_t> pixels, std::int64_t height, std::int64_t width);

}  // namespace saber
