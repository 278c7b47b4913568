// The built-in tiny LVLM: vision tower, decoder, token tables and the vocabulary it answers in (docs/lvlm.md).
//
// A shot is three tokens (picture, question, answer), the query two (picture, question); the answer is predicted at the
// question's position. The question token stands for what is asked (`/tasks/question`), never for its wording.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "trainer/lvlm/decoder.h"
#include "trainer/lvlm/vision_tower.h"

namespace saber {

class TinyLvlmImpl : public torch::nn::Module {
 public:
  static constexpr std::int64_t kMaxShots = 8, kMinQuestions = 64, kTokensPerShot = 3;

  TinyLvlmImpl(std::int64_t picture_height, std::int64_t picture_width, std::vector<std::string> vocabulary,
               std::int64_t num_questions = kMinQuestions);

  const std::vector<std::string>& vocabulary() const { return vocabulary_; }
  std::int64_t picture_height() const { return picture_height_; }
  std::int64_t picture_width() const { return picture_width_; }
  // Question tokens: 0 to num_questions() - 1.
  std::int64_t num_questions() const { return question_->weight.size(0); }
  // Word of the vocabulary, -1 when the LVLM does not know it.
  std::int64_t word_of(const std::string& text) const;

  // pixels uint8 [n, 3, H, W] -> tower output [n, 128], raw.
  torch::Tensor see(const torch::Tensor& pixels) { return tower_(pixels); }
  // Tower output, centred and scaled by the statistics of the training scenes.
  torch::Tensor standardise(const torch::Tensor& seen) const { return (seen - seen_mean_) / seen_scale_; }
  // standardised [.., 128] -> picture tokens [.., width], without position.
  torch::Tensor picture_token(const torch::Tensor& standardised) { return picture_(standardised); }
  torch::Tensor question_token(const torch::Tensor& question) { return question_(question); }  // int64 [..]
  torch::Tensor answer_token(const torch::Tensor& word) { return answer_(word); }              // int64 [..]
  // Learned position vectors of tokens first .. first + count - 1.
  torch::Tensor positions(std::int64_t first, std::int64_t count) const { return position_.narrow(0, first, count); }

  torch::Device device() const { return position_.device(); }
  VisionTower& tower() { return tower_; }
  Decoder& decoder() { return decoder_; }
  void set_statistics(const torch::Tensor& mean, const torch::Tensor& scale);

 private:
  std::int64_t picture_height_, picture_width_;
  std::vector<std::string> vocabulary_;
  VisionTower tower_{nullptr};
  Decoder decoder_{nullptr};
  torch::nn::Linear picture_{nullptr};
  torch::nn::Embedding question_{nullptr}, answer_{nullptr};
  torch::Tensor position_, seen_mean_, seen_scale_;
};
TORCH_MODULE(TinyLvlm);

void save_tiny_lvlm(const std::filesystem::path& path, TinyLvlm& lvlm);
// Throws bad_input that names the file. The model is on `device`, in evaluation mode, without gradients.
TinyLvlm load_tiny_lvlm(const std::filesystem::path& path, torch::Device device = torch::kCPU);
// 32 hex digits over weights and vocabulary.
std::string fingerprint_of(TinyLvlm& lvlm);

// The embeddings of pictures for data sets, whatever device the LVLM is on: tower output, standardised and
// L2-normalised. pixels: [n, 3, H, W] bytes; returns [n, 128] floats. Works in blocks of 64 pictures whose bits do not
// depend on n.
std::vector<float> embed_pictures(TinyLvlm& lvlm, const std::vector<std::uint8_t>& pixels, std::int64_t num_pictures);

}  // namespace saber
