#include "trainer/lvlm/tiny_lvlm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "core/error.h"
#include "tests/data/temporary_folder.h"
#include "trainer/formats/safetensors.h"

namespace saber {
namespace {

TinyLvlm random_lvlm(std::uint64_t seed = 1, std::vector<std::string> words = {"red", "blue", "grün"}) {
  torch::manual_seed(seed);
  return TinyLvlm(8, 16, std::move(words));
}

torch::Tensor random_tokens(std::int64_t batch, std::int64_t count) {
  return torch::randn({batch, count, DecoderImpl::kWidth});
}

TEST(TinyLvlm, SavedAndLoadedItIsTheSame) {
  const testing_data::TemporaryFolder folder;
  TinyLvlm lvlm = random_lvlm();
  lvlm->set_statistics(torch::randn({128}), torch::rand({128}) + 0.5);
  save_tiny_lvlm(folder / "a.safetensors", lvlm);
  TinyLvlm loaded = load_tiny_lvlm(folder / "a.safetensors");
  EXPECT_EQ(loaded->vocabulary(), lvlm->vocabulary());
  EXPECT_EQ(loaded->picture_height(), 8);
  EXPECT_EQ(loaded->picture_width(), 16);
  EXPECT_EQ(fingerprint_of(loaded), fingerprint_of(lvlm));
  const auto wanted = lvlm->named_parameters();
  for (const auto& item : loaded->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), wanted[item.key()])) << item.key();
    EXPECT_FALSE(item.value().requires_grad());
  }
  const torch::Tensor seen = torch::randn({3, 128});
  EXPECT_TRUE(torch::equal(loaded->standardise(seen), lvlm->standardise(seen))) << "statistics are saved too";
  EXPECT_EQ(loaded->word_of("grün"), 2);
  EXPECT_EQ(loaded->word_of("green"), -1);
}

TEST(TinyLvlm, TheFingerprintChangesWithAnyWeightAndWord) {
  TinyLvlm lvlm = random_lvlm();
  const std::string before = fingerprint_of(lvlm);
  EXPECT_EQ(before.size(), 32U);
  TinyLvlm same = random_lvlm();
  EXPECT_EQ(fingerprint_of(same), before);
  TinyLvlm reworded = random_lvlm(1, {"red", "blue", "green"});
  EXPECT_NE(fingerprint_of(reworded), before);
  const torch::NoGradGuard no_grad;
  for (auto& item : lvlm->named_parameters()) {
    torch::Tensor first = item.value().view(-1)[0];
    const torch::Tensor value = first.clone();
    first.add_(1e-3);
    EXPECT_NE(fingerprint_of(lvlm), before) << item.key();
    first.copy_(value);
  }
  EXPECT_EQ(fingerprint_of(lvlm), before);
  lvlm->set_statistics(torch::ones({128}), torch::ones({128}));
  EXPECT_NE(fingerprint_of(lvlm), before);
}

TEST(TinyLvlm, FilesThatAreNoTinyLvlmAreRefused) {
  const testing_data::TemporaryFolder folder;
  const auto write = [&](const NamedTensors& tensors, const std::map<std::string, std::string>& metadata) {
    const std::string bytes = to_safetensors(tensors, metadata);
    std::ofstream(folder / "x", std::ios::binary | std::ios::trunc) << bytes;
  };
  const NamedTensors some = {{"w", torch::ones({2})}};
  const auto refused = [&](std::initializer_list<std::string> parts) {
    testing_data::expect_bad_input(parts, [&] { load_tiny_lvlm(folder / "x"); });
  };
  write(some, {});
  refused({(folder / "x").string(), "format"});
  write(some, {{"format", "saber-tiny-lvlm"}, {"version", "2"}});
  refused({"version '2'"});
  std::map<std::string, std::string> metadata = {
      {"format", "saber-tiny-lvlm"}, {"version", "1"}, {"height", "8"}, {"width", "8"}, {"vocabulary", "[\"a\"]"}};
  write(some, metadata);
  refused({(folder / "x").string()});
  metadata["height"] = "tall";
  write(some, metadata);
  refused({"metadata"});
  testing_data::expect_bad_input({"absent"}, [&] { load_tiny_lvlm(folder / "absent"); });
}

TEST(TinyLvlm, PicturesOfAnySizeArePaddedWithMidGreyBelowAndAtTheRight) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(4);
  TinyLvlm lvlm(10, 5, std::vector<std::string>{"a"});
  const torch::Tensor pixels = torch::randint(0, 256, {3, 3, 10, 5}, torch::kUInt8);
  // Between the bytes 127 and 128 lies what the tower sees as 0.
  torch::Tensor padded = torch::full({3, 3, 16, 8}, 127.5);
  padded.slice(2, 0, 10).slice(3, 0, 5).copy_(pixels);
  EXPECT_TRUE(torch::equal(lvlm->see(pixels), lvlm->see(padded)));
  EXPECT_FALSE(torch::equal(lvlm->see(pixels), lvlm->see(padded.roll(1, 3))));
  EXPECT_EQ(lvlm->see(torch::zeros({1, 3, 10, 5}, torch::kUInt8)).sizes(), (std::vector<std::int64_t>{1, 128}));
}

TEST(TinyLvlm, TheNumberOfQuestionsIsSavedWithTheWeights) {
  const testing_data::TemporaryFolder folder;
  TinyLvlm lvlm(8, 8, std::vector<std::string>{"a"}, 70);
  save_tiny_lvlm(folder / "a.safetensors", lvlm);
  EXPECT_EQ(load_tiny_lvlm(folder / "a.safetensors")->num_questions(), 70);
  EXPECT_EQ(random_lvlm()->num_questions(), 64);
}

TEST(TinyLvlm, EmbeddingsOfPicturesHaveLengthOneAndDoNotDependOnTheOthers) {
  TinyLvlm lvlm = random_lvlm();
  torch::manual_seed(3);
  const torch::Tensor random = torch::randint(0, 256, {70, 3, 8, 16}, torch::kUInt8);
  const auto* const begin = random.data_ptr<std::uint8_t>();
  const auto pixels = [&](std::int64_t count) { return std::vector<std::uint8_t>(begin, begin + count * 3 * 8 * 16); };
  const std::vector<float> all = embed_pictures(lvlm, pixels(70), 70), few = embed_pictures(lvlm, pixels(3), 3);
  ASSERT_EQ(all.size(), 70U * 128);
  ASSERT_EQ(few.size(), 3U * 128);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), all.begin())) << "bit for bit";
  const torch::Tensor rows = torch::tensor(at::ArrayRef<float>(all)).view({70, 128});
  EXPECT_TRUE(torch::allclose(rows.norm(2, 1), torch::ones({70}), 1e-5, 1e-5));
}

TEST(Decoder, IsCausal) {
  const torch::NoGradGuard no_grad;
  TinyLvlm lvlm = random_lvlm();
  torch::Tensor tokens = random_tokens(2, 6);
  const torch::Tensor before = lvlm->decoder()(tokens);
  tokens.select(1, 3).copy_(torch::randn({2, DecoderImpl::kWidth}));
  const torch::Tensor after = lvlm->decoder()(tokens);
  EXPECT_TRUE(torch::allclose(after.narrow(1, 0, 3), before.narrow(1, 0, 3), 1e-6, 1e-6));
  for (std::int64_t i = 3; i < 6; ++i) EXPECT_FALSE(torch::allclose(after.select(1, i), before.select(1, i)));
}

TEST(Decoder, ExtendingEqualsReadingAtOnce) {
  const torch::NoGradGuard no_grad;
  TinyLvlm lvlm = random_lvlm();
  const torch::Tensor tokens = random_tokens(9, 11), whole = lvlm->decoder()(tokens);
  for (const std::vector<std::int64_t>& pieces :
       std::vector<std::vector<std::int64_t>>{{11}, {1, 10}, {5, 3, 3}, {2, 1, 1, 7}}) {
    KeyValueCache cache;
    std::int64_t read = 0;
    for (const std::int64_t piece : pieces) {
      const torch::Tensor logits = lvlm->decoder()->extend(tokens.narrow(1, read, piece), cache);
      read += piece;
      EXPECT_EQ(cache.num_tokens(), read);
      ASSERT_EQ(logits.sizes(), (std::vector<std::int64_t>{9, 3}));
      EXPECT_LT((logits - whole.select(1, read - 1)).abs().max().item<double>(), 1e-5);
    }
  }
}

TEST(Decoder, ASelectedCacheContinuesThoseSequences) {
  const torch::NoGradGuard no_grad;
  TinyLvlm lvlm = random_lvlm();
  const torch::Tensor prefixes = random_tokens(6, 5), rows = torch::tensor({4, 0, 4}, torch::kInt64);
  KeyValueCache cache;
  lvlm->decoder()->extend(prefixes, cache);
  KeyValueCache selected = cache.select(rows, 3);  // the last two tokens were the query's and are dropped
  EXPECT_EQ(selected.num_tokens(), 3);
  const torch::Tensor more = random_tokens(3, 4);
  const torch::Tensor logits = lvlm->decoder()->extend(more, selected);
  const torch::Tensor whole = lvlm->decoder()(torch::cat({prefixes.index_select(0, rows).narrow(1, 0, 3), more}, 1));
  EXPECT_LT((logits - whole.select(1, 6)).abs().max().item<double>(), 1e-5);
  EXPECT_EQ(cache.num_tokens(), 5) << "the cache that was selected from stays";
}

}  // namespace
}  // namespace saber
