#include "data/png.h"

#include <png.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

std::string base64(std::span<const std::uint8_t> bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (j < count ? bytes[i + j] : 0U);
    for (std::size_t j = 0; j < 4; ++j) out += j <= count ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

}  // namespace

std::string png_data_uri(std::span<const std::uint8_t> pixels, std::int64_t height, std::int64_t width) {
  const std::size_t plane = to_index(height * width);
  ensure(pixels.size() == 3 * plane && plane > 0, "a picture has three planes of height x width bytes");
  std::vector<std::uint8_t> interleaved(3 * plane);
  for (std::size_t i = 0; i < plane; ++i) {
    for (std::size_t channel = 0; channel < 3; ++channel) interleaved[3 * i + channel] = pixels[channel * plane + i];
  }
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = narrow<png_uint_32>(width);
  image.height = narrow<png_uint_32>(height);
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<std::uint8_t> file(size);
  if (png_image_write_to_memory(&image, file.data(), &size, 0, interleaved.data(), 0, nullptr) == 0)
    throw Error(ErrorKind::internal, image.message, "PNG");
  return "data:image/png;base64," + base64({file.data(), size});
}

}  // namespace saber
