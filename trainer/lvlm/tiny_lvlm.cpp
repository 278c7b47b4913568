#include "trainer/lvlm/tiny_lvlm.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "trainer/formats/safetensors.h"

namespace saber {
namespace nn = torch::nn;
namespace {

constexpr const char* kLvlmFormat = "saber-tiny-lvlm";
constexpr std::int64_t kImagesAtOnce = 64;  // pictures per forward pass of the tower

NamedTensors tensors_of(TinyLvlm& lvlm) {
  NamedTensors out;
  for (const auto& item : lvlm->named_parameters()) out[item.key()] = item.value().detach();
  for (const auto& item : lvlm->named_buffers()) out[item.key()] = item.value();
  return out;
}

std::string serialised(TinyLvlm& lvlm) {
  return to_safetensors(tensors_of(lvlm), {{"format", kLvlmFormat},
                                           {"version", "1"},
                                           {"height", std::to_string(lvlm->picture_height())},
                                           {"width", std::to_string(lvlm->picture_width())},
                                           {"vocabulary", nlohmann::json(lvlm->vocabulary()).dump()}});
}

}  // namespace

TinyLvlmImpl::TinyLvlmImpl(std::int64_t picture_height, std::int64_t picture_width, std::vector<std::string> vocabulary,
                           std::int64_t num_questions)
    : picture_height_(picture_height), picture_width_(picture_width), vocabulary_(std::move(vocabulary)) {
  const auto words = static_cast<std::int64_t>(vocabulary_.size());
  const std::int64_t width = DecoderImpl::kWidth, seen = VisionTowerImpl::kWidth;
  tower_ = register_module("tower", VisionTower(picture_height, picture_width));
  decoder_ = register_module("decoder", Decoder(words));
  picture_ = register_module("picture", nn::Linear(seen, width));
  question_ = register_module("question", nn::Embedding(num_questions, width));
  answer_ = register_module("answer", nn::Embedding(words, width));
  position_ = register_parameter("position", 0.02 * torch::randn({kMaxShots * kTokensPerShot + 2, width}));
  seen_mean_ = register_buffer("seen_mean", torch::zeros({seen}));
  seen_scale_ = register_buffer("seen_scale", torch::ones({seen}));
}

std::int64_t TinyLvlmImpl::word_of(const std::string& text) const {
  const auto it = std::find(vocabulary_.begin(), vocabulary_.end(), text);
  return it == vocabulary_.end() ? -1 : it - vocabulary_.begin();
}

void TinyLvlmImpl::set_statistics(const torch::Tensor& mean, const torch::Tensor& scale) {
  seen_mean_.copy_(mean);
  seen_scale_.copy_(scale);
}

void save_tiny_lvlm(const std::filesystem::path& path, TinyLvlm& lvlm) {
  write_file_atomic(path, serialised(lvlm));
}

std::string fingerprint_of(TinyLvlm& lvlm) {
  return hash128_hex(serialised(lvlm));
}

TinyLvlm load_tiny_lvlm(const std::filesystem::path& path, torch::Device device) {
  const SafetensorsFile file = read_safetensors(path);
  const auto meta = [&](const std::string& key) {
    const auto it = file.metadata.find(key);
    if (it == file.metadata.end()) throw_bad_input("has no metadata '" + key + "'", path.string());
    return it->second;
  };
  if (meta("format") != kLvlmFormat || meta("version") != "1") {
    throw_bad_input("is format '" + meta("format") + "' version '" + meta("version") + "', wanted saber-tiny-lvlm 1",
                    path.string());
  }
  const auto questions = file.tensors.find("question.weight");
  const bool has_questions = questions != file.tensors.end() && questions->second.dim() == 2;
  TinyLvlm lvlm{nullptr};
  try {
    lvlm = TinyLvlm(std::stoll(meta("height")), std::stoll(meta("width")),
                    nlohmann::json::parse(meta("vocabulary")).get<std::vector<std::string>>(),
                    has_questions ? questions->second.size(0) : TinyLvlmImpl::kMinQuestions);
  } catch (const std::exception& error) {
    throw_bad_input(std::string("holds unreadable metadata: ") + error.what(), path.string());
  }
  load_into(tensors_of(lvlm), file.tensors, path.string());
  for (torch::Tensor& parameter : lvlm->parameters()) parameter.set_requires_grad(false);
  lvlm->eval();
  lvlm->to(device);
  return lvlm;
}

std::vector<float> embed_pictures(TinyLvlm& lvlm, const std::vector<std::uint8_t>& pixels, std::int64_t num_pictures) {
  const torch::NoGradGuard no_grad;
  const std::int64_t height = lvlm->picture_height(), width = lvlm->picture_width(), bytes = 3 * height * width;
  ensure(static_cast<std::int64_t>(pixels.size()) == num_pictures * bytes, "pictures have the LVLM's size");
  std::vector<float> out;
  out.reserve(static_cast<std::size_t>(num_pictures * VisionTowerImpl::kWidth));
  for (std::int64_t first = 0; first < num_pictures; first += kImagesAtOnce) {
    const std::int64_t count = std::min(kImagesAtOnce, num_pictures - first);
    torch::Tensor block = torch::zeros({kImagesAtOnce, 3, height, width}, torch::kUInt8);
    std::copy_n(pixels.data() + first * bytes, count * bytes, block.data_ptr<std::uint8_t>());
    const torch::Tensor embedded = nn::functional::normalize(lvlm->standardise(lvlm->see(block.to(lvlm->device()))),
                                                             nn::functional::NormalizeFuncOptions().dim(1));
    const torch::Tensor on_cpu = embedded.cpu().contiguous();
    const float* const values = on_cpu.data_ptr<float>();
    out.insert(out.end(), values, values + count * VisionTowerImpl::kWidth);
  }
  return out;
}

}  // namespace saber
