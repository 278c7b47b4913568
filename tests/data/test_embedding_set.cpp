#include "data/embedding_set.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <numeric>
#include <thread>

#include "core/atomic_file.h"
#include "core/narrow.h"
#include "tests/data/example_set.h"
#include "tests/data/hdf5_surgery.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/small_world.h"

namespace saber {
namespace {

namespace fs = std::filesystem;
using namespace testing_data::example_set;
using testing_data::expect_bad_input;
using testing_data::FloatKind;
using testing_data::Hdf5Surgery;
using testing_data::Storage;
using testing_data::TemporaryFolder;

class EmbeddingSetFile : public testing::Test {
 protected:
  EmbeddingSetFile() : path_(folder_ / "embeddings.h5") { write_embedding_set(path_, example()); }

  template <class Change>
  void expect_refusal(std::initializer_list<std::string> parts, Change change) {
    {
      Hdf5Surgery surgery(path_);
      change(surgery);
    }
    expect_bad_input(parts, [&] { read_embedding_set(path_); });
    write_embedding_set(path_, example());
  }

  TemporaryFolder folder_;
  fs::path path_;
};

TEST_F(EmbeddingSetFile, RoundTripKeepsEverythingAndNormalises) {
  const EmbeddingSet wanted = example();
  const EmbeddingSet set = read_embedding_set(path_);
  EXPECT_EQ(set.num_rows, kRows);
  EXPECT_EQ(set.image_width, kImageWidth);
  EXPECT_EQ(set.text_width, kTextWidth);
  EXPECT_EQ(set.id, wanted.id);
  EXPECT_EQ(set.split, wanted.split);
  EXPECT_EQ(set.task, wanted.task);
  EXPECT_EQ(set.text_query, wanted.text_query);
  EXPECT_EQ(set.text_result, wanted.text_result);
  EXPECT_EQ(set.image_uri, wanted.image_uri);
  EXPECT_EQ(set.tasks.instruction, wanted.tasks.instruction);
  EXPECT_EQ(set.tasks.question, wanted.tasks.question);
  EXPECT_EQ(set.fingerprint.size(), 32U);
  for (std::int64_t row = 0; row < kRows; ++row) {
    double norm = 0;
    for (std::int64_t i = 0; i < kImageWidth; ++i) {
      norm += std::pow(static_cast<double>(wanted.image[to_index(row * kImageWidth + i)]), 2);
    }
    for (std::int64_t i = 0; i < kImageWidth; ++i) {
      const std::size_t at = to_index(row * kImageWidth + i);
      EXPECT_FLOAT_EQ(set.image[at], wanted.image[at] / static_cast<float>(std::sqrt(norm)));
    }
  }
  EXPECT_EQ(std::accumulate(set.query_result.begin() + kLibrary * kTextWidth, set.query_result.end(), 0.0F,
                            [](float sum, float value) { return sum + std::abs(value); }),
            0.0F);
  EXPECT_EQ(set.rows_of(Split::validation), (std::vector<std::int64_t>{20, 21}));
  const RowsById rows(set);
  EXPECT_EQ(rows.find(995), 5);
  EXPECT_EQ(rows.find(3), std::nullopt);
  EXPECT_TRUE(set.same_picture(4, 5));
  EXPECT_FALSE(set.same_picture(5, 6));
}

TEST_F(EmbeddingSetFile, WritingTwiceGivesTheSameBytes) {
  const std::string first = read_file(path_);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // object times have a resolution of 1 s
  write_embedding_set(path_, example());
  EXPECT_EQ(first, read_file(path_));
  EXPECT_EQ(std::distance(fs::directory_iterator(path_.parent_path()), fs::directory_iterator()), 1);
}

TEST_F(EmbeddingSetFile, OtherTypesAndLayoutsAreTheSameData) {
  const EmbeddingSet plain = read_embedding_set(path_);
  for (const FloatKind kind : {FloatKind::float16, FloatKind::bfloat16, FloatKind::float32_big_endian}) {
    for (const Storage storage : {Storage::contiguous, Storage::chunked, Storage::gzip}) {
      write_embedding_set(path_, example());
      for (const char* name : {"/image", "/query", "/query_result", "/tasks/embedding"}) {
        Hdf5Surgery(path_).restore_floats(name, kind, storage);
      }
      Hdf5Surgery(path_).store_fixed_strings("/text/query", plain.text_query, 20, storage == Storage::gzip);
      Hdf5Surgery(path_).store_fixed_strings("/text/result", plain.text_result, 11, storage == Storage::gzip);
      Hdf5Surgery(path_).store_variable_strings("/image_uri", plain.image_uri, storage);
      const EmbeddingSet other = read_embedding_set(path_);
      EXPECT_EQ(other.fingerprint, plain.fingerprint);
      EXPECT_EQ(other.image, plain.image);
      EXPECT_EQ(other.query_result, plain.query_result);
      EXPECT_EQ(other.text_result, plain.text_result);
    }
  }
}

TEST_F(EmbeddingSetFile, FingerprintSeesEveryColumn) {
  const std::string plain = read_embedding_set(path_).fingerprint;
  const std::vector<std::function<void(EmbeddingSet&)>> changes = {
      [](EmbeddingSet& set) { set.image[7] += 1; },
      [](EmbeddingSet& set) { set.query[7] *= 2; },
      [](EmbeddingSet& set) { set.query_result[7] += 1; },
      [](EmbeddingSet& set) { set.id[2] = 5; },
      [](EmbeddingSet& set) { set.split[20] = Split::train; },
      [](EmbeddingSet& set) { set.task[0] = 1; },
      [](EmbeddingSet& set) { set.tasks.question[1] = 0; },
      [](EmbeddingSet& set) { set.tasks.name[1] = "other"; },
      [](EmbeddingSet& set) { std::swap(set.text_query[0], set.text_query[1]); },
      [](EmbeddingSet& set) { set.text_result[23] = "other"; },
      [](EmbeddingSet& set) { set.image_uri[0] = "other"; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    EmbeddingSet changed = example();
    changes[i](changed);
    write_embedding_set(path_, changed);
    EXPECT_NE(read_embedding_set(path_).fingerprint, plain) << "change " << i;
  }
}

TEST_F(EmbeddingSetFile, ResultsOfQueriesAreIgnored) {
  const EmbeddingSet plain = read_embedding_set(path_);
  Hdf5Surgery(path_).set_float("/query_result", to_index(kLibrary * kTextWidth), std::nanf(""));
  const EmbeddingSet other = read_embedding_set(path_);
  EXPECT_EQ(other.query_result, plain.query_result);
  EXPECT_EQ(other.fingerprint, plain.fingerprint);
  expect_refusal({"embeddings.h5 /query_result row 17", "NaN"},
                 [](Hdf5Surgery& file) { file.set_float("/query_result", to_index(17 * kTextWidth), std::nanf("")); });
}

TEST_F(EmbeddingSetFile, MereQueriesNeedNoResults) {
  EmbeddingSet queries = rows_of_example(kLibrary, kRows);
  queries.query_result.clear();
  queries.text_result.clear();
  queries.image_uri.clear();
  write_embedding_set(path_, queries);
  const EmbeddingSet set = read_embedding_set(path_);
  EXPECT_TRUE(set.query_result.empty() && set.text_result.empty() && set.image_uri.empty());
  EXPECT_TRUE(set.same_picture(1, 1));
  EXPECT_FALSE(set.same_picture(1, 2));
  write_embedding_set(path_, example());
  expect_refusal({"/query_result", "missing"}, [](Hdf5Surgery& file) { file.remove("/query_result"); });
  expect_refusal({"/text/result", "missing"}, [](Hdf5Surgery& file) { file.remove("/text/result"); });
}

TEST_F(EmbeddingSetFile, PixelsInsteadOfUris) {
  EmbeddingSet set = example();
  set.image_uri.clear();
  set.pixel_height = 2;
  set.pixel_width = 3;
  for (std::int64_t i = 0; i < kRows * 18; ++i) set.pixels.push_back(static_cast<std::uint8_t>(i / 18 / 3));
  write_embedding_set(path_, set);
  const EmbeddingSet read = read_embedding_set(path_);
  EXPECT_EQ(read.pixels, set.pixels);
  EXPECT_EQ(read.pixel_width, 3);
  EXPECT_TRUE(read.same_picture(3, 5));
  EXPECT_FALSE(read.same_picture(5, 6));

  EmbeddingSet changed = set;
  changed.pixels[100] ^= 1;
  write_embedding_set(folder_ / "changed.h5", changed);
  EXPECT_NE(read_embedding_set(folder_ / "changed.h5").fingerprint, read.fingerprint) << "one pixel";
  changed = set;
  std::swap(changed.pixel_height, changed.pixel_width);
  write_embedding_set(folder_ / "changed.h5", changed);
  EXPECT_NE(read_embedding_set(folder_ / "changed.h5").fingerprint, read.fingerprint) << "another shape";

  Hdf5Surgery(path_).store_variable_strings("/image_uri", std::vector<std::string>(kRows, "a.png"),
                                            Storage::contiguous);
  expect_bad_input({"/pixels", "/image_uri", "one of them"}, [&] { read_embedding_set(path_); });
}

TEST_F(EmbeddingSetFile, RefusesBadNumbers) {
  const auto at = [](std::int64_t row, std::int64_t width) { return to_index(row * width + 2); };
  expect_refusal({"embeddings.h5 /image row 17: holds NaN, wanted finite numbers"},
                 [&](Hdf5Surgery& file) { file.set_float("/image", at(17, kImageWidth), std::nanf("")); });
  expect_refusal({"embeddings.h5 /query row 23", "infinity"}, [&](Hdf5Surgery& file) {
    file.set_float("/query", at(23, kTextWidth), -std::numeric_limits<float>::infinity());
  });
  expect_refusal({"/image row 4", "all zeros"}, [](Hdf5Surgery& file) {
    for (std::int64_t i = 0; i < kImageWidth; ++i) file.set_float("/image", to_index(4 * kImageWidth + i), 0);
  });
  expect_refusal({"/tasks/embedding row 1", "NaN"},
                 [](Hdf5Surgery& file) { file.set_float("/tasks/embedding", kTextWidth, std::nanf("")); });
  expect_refusal({"/image", "float64", "float16"},
                 [](Hdf5Surgery& file) { file.restore_floats("/image", FloatKind::float64, Storage::contiguous); });
}

TEST_F(EmbeddingSetFile, NanAndInfinitySurviveTheSmallTypes) {
  for (const FloatKind kind : {FloatKind::float16, FloatKind::bfloat16}) {
    expect_refusal({"/image row 17", "NaN"}, [&](Hdf5Surgery& file) {
      file.set_float("/image", to_index(17 * kImageWidth), std::nanf(""));
      file.restore_floats("/image", kind, Storage::contiguous);
    });
    expect_refusal({"/image row 2", "infinity"}, [&](Hdf5Surgery& file) {
      file.set_float("/image", to_index(2 * kImageWidth), std::numeric_limits<float>::infinity());
      file.restore_floats("/image", kind, Storage::contiguous);
    });
  }
}

TEST_F(EmbeddingSetFile, RefusesBadColumns) {
  expect_refusal({"/id row 20", "985", "/id row 15"}, [](Hdf5Surgery& file) { file.set_int("/id", 20, 985); });
  expect_refusal({"/id row 3", "-7", ">= 0"}, [](Hdf5Surgery& file) { file.set_int("/id", 3, -7); });
  expect_refusal({"/split row 5", "4"}, [](Hdf5Surgery& file) { file.set_int("/split", 5, 4); });
  expect_refusal({"/task row 6", "2", "0 to 1"}, [](Hdf5Surgery& file) { file.set_int("/task", 6, 2); });
  expect_refusal({"/id", "int32", "int64"},
                 [](Hdf5Surgery& file) { file.store_ints("/id", std::vector<std::int32_t>(kRows), {kRows}); });
  expect_refusal({"/task", "[23]", "[24]"},
                 [](Hdf5Surgery& file) { file.store_ints("/task", std::vector<std::int32_t>(23), {23}); });
  expect_refusal({"/task", "[24, 1]", "[24]"}, [](Hdf5Surgery& file) {
    file.store_ints("/task", std::vector<std::int32_t>(24), {24, 1});
  });
  expect_refusal({"attribute version", "2", "1", "newer"},
                 [](Hdf5Surgery& file) { file.set_int_attribute("version", 2); });
  expect_refusal({"/text/query row 2", "UTF-8"}, [](Hdf5Surgery& file) {
    std::vector<std::string> texts(kRows, "fine");
    texts[2] = "caf\xe9";
    file.store_variable_strings("/text/query", texts, Storage::contiguous);
  });
  for (const std::string name :
       {"/image", "/query", "/id", "/split", "/task", "/tasks/name", "/tasks", "/text/query"}) {
    expect_refusal({name, "missing"}, [&](Hdf5Surgery& file) { file.remove(name); });
  }
}

TEST_F(EmbeddingSetFile, QuestionsDefaultToOnePerTask) {
  Hdf5Surgery(path_).remove("/tasks/question");
  EXPECT_EQ(read_embedding_set(path_).tasks.question, (std::vector<std::int32_t>{0, 1}));
}

TEST_F(EmbeddingSetFile, RefusesDataOfOtherFiles) {
  const fs::path other = folder_ / "other.h5";
  write_embedding_set(other, example());
  expect_refusal({"/id", "link"}, [&](Hdf5Surgery& file) { file.move_to_external_link("/id", other.string(), "/id"); });
  expect_refusal({"/tasks", "link"},
                 [&](Hdf5Surgery& file) { file.move_to_external_link("/tasks", other.string(), "/tasks"); });
  expect_refusal({"/id", "link"}, [](Hdf5Surgery& file) { file.move_to_soft_link("/id", "/elsewhere"); });
  expect_refusal({"/id", "virtual"},
                 [&](Hdf5Surgery& file) { file.store_virtual("/id", kRows, other.string(), "/id"); });
  write_file_atomic(folder_ / "raw.bin", std::string(8 * kRows, '\1'));
  expect_refusal({"/id", "external"},
                 [&](Hdf5Surgery& file) { file.store_external("/id", kRows, (folder_ / "raw.bin").string()); });
}

TEST_F(EmbeddingSetFile, RefusesSizesThatTheFileCannotHold) {
  expect_refusal({"/id", "2^40"},
                 [](Hdf5Surgery& file) { file.declare_chunked("/id", {std::uint64_t{1} << 41}, {1024}); });
  expect_refusal({"/id", "2^40"}, [](Hdf5Surgery& file) {
    file.declare_chunked("/id", {std::uint64_t{1} << 32, std::uint64_t{1} << 32}, {64, 64});
  });
  expect_refusal({"/id", "can hold"},
                 [](Hdf5Surgery& file) { file.declare_chunked("/id", {std::uint64_t{1} << 32}, {1024}); });
  expect_refusal({"/id", "can hold"}, [](Hdf5Surgery& file) {
    file.declare_chunked("/id", {kRows, 1 << 14, 1 << 12}, {kRows, 1 << 12, 1 << 12});
  });
}

TEST_F(EmbeddingSetFile, TruncatedAnywhereIsRefused) {
  const std::string whole = read_file(path_);
  for (std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{47}, std::size_t{96}, whole.size() / 4,
                             whole.size() / 2, whole.size() - 1000, whole.size() - 1}) {
    write_file_atomic(path_, whole.substr(0, length));
    expect_bad_input({"embeddings.h5"}, [&] { read_embedding_set(path_); });
  }
  write_file_atomic(path_, whole.substr(0, whole.size() / 2));
  expect_bad_input({"truncated", "cut off"}, [&] { read_embedding_set(path_); });
}

TEST_F(EmbeddingSetFile, DamagedBytesNeverCrash) {
  const std::string whole = read_file(path_);
  for (std::size_t at = 0; at < whole.size(); at += 13) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    std::ofstream(path_, std::ios::binary) << damaged;
    try {
      read_embedding_set(path_);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_input) << at << ": " << error.what();
    }
  }
}

TEST_F(EmbeddingSetFile, OtherFilesAreNamed) {
  expect_bad_input({"absent.h5", "No such file"}, [&] { read_embedding_set(folder_ / "absent.h5"); });
  write_file_atomic(folder_ / "text.h5", "just text");
  expect_bad_input({"text.h5", "not an HDF5 file"}, [&] { read_embedding_set(folder_ / "text.h5"); });
}

TEST_F(EmbeddingSetFile, PartsAreOneSet) {
  const fs::path parts = folder_ / "parts";
  fs::create_directory(parts);
  write_embedding_set(parts / "part-00000.h5", rows_of_example(0, 10));
  write_embedding_set(parts / "part-00001.h5", rows_of_example(10, kLibrary));
  EmbeddingSet queries = rows_of_example(kLibrary, kRows);
  queries.query_result.clear();
  write_embedding_set(parts / "part-00002.h5", queries);
  write_file_atomic(parts / "notes.txt", "not a part");
  const EmbeddingSet whole = read_embedding_set(path_);
  const EmbeddingSet joined = read_embedding_set(parts);
  EXPECT_EQ(joined.fingerprint, whole.fingerprint);
  EXPECT_EQ(joined.id, whole.id);
  EXPECT_EQ(joined.query_result, whole.query_result);
  EXPECT_EQ(joined.text_result, whole.text_result);

  Hdf5Surgery(parts / "part-00001.h5").set_int("/id", 2, 1000 - 7);
  expect_bad_input({"part-00001.h5 /id row 2", "part-00000.h5 /id row 7", "993"}, [&] { read_embedding_set(parts); });
  EmbeddingSet other = rows_of_example(10, kLibrary);
  other.tasks.short_instruction[1] = "Count them.";
  write_embedding_set(parts / "part-00001.h5", other);
  expect_bad_input({"part-00001.h5 /tasks/short_instruction", "part-00000.h5"}, [&] { read_embedding_set(parts); });
}

TEST_F(EmbeddingSetFile, ARankHoldsItsShareOfTheLibrary) {
  const EmbeddingSet whole = read_embedding_set(path_);
  std::vector<int> holders(kRows, 0);
  for (std::int64_t rank = 0; rank < 4; ++rank) {  // 18 library rows: 5, 5, 4, 4
    const EmbeddingSet share = read_embedding_set(path_, {rank, 4, rank == 0});
    EXPECT_EQ(share.fingerprint, rank == 0 ? whole.fingerprint : "") << "found by the rank that looks at all rows";
    EXPECT_EQ(share.id, whole.id);
    EXPECT_EQ(size_of(share.image), (rank < 2 ? 11 : 10) * kImageWidth);
    for (std::int64_t row = 0; row < kRows; ++row) {
      const std::int64_t slot = share.slot[to_index(row)];
      EXPECT_EQ(share.holds(row), slot >= 0);
      if (slot < 0) continue;
      ++holders[to_index(row)];
      const auto expect_row = [&](const std::vector<float>& mine, const std::vector<float>& all, std::int64_t width) {
        EXPECT_TRUE(
            std::equal(all.begin() + row * width, all.begin() + (row + 1) * width, mine.begin() + slot * width));
      };
      expect_row(share.image, whole.image, kImageWidth);
      expect_row(share.query, whole.query, kTextWidth);
      expect_row(share.query_result, whole.query_result, kTextWidth);
    }
  }
  for (std::int64_t row = 0; row < kRows; ++row)
    EXPECT_EQ(holders[to_index(row)], row < kLibrary ? 1 : 4) << "row " << row;
}

TEST_F(EmbeddingSetFile, OneRankChecksTheRowsOfAll) {
  Hdf5Surgery(path_).set_float("/image", 17 * kImageWidth, std::nanf(""));
  EXPECT_NO_THROW(read_embedding_set(path_, {0, 4, false}));
  expect_bad_input({"/image row 17", "NaN"}, [&] { read_embedding_set(path_, {0, 4, true}); });
}

TEST_F(EmbeddingSetFile, AFolderNeedsParts) {
  expect_bad_input({"part-*.h5"}, [&] { read_embedding_set(folder_ / "."); });
}

TEST(EmbeddingSet, WriterRefusesTextsThatNoReaderTakes) {
  TemporaryFolder folder;
  EmbeddingSet set = example();
  set.text_query[4] = std::string("a\0b", 3);
  expect_bad_input({"/text/query row 4", "zero"}, [&] { write_embedding_set(folder / "a.h5", set); });
  EXPECT_TRUE(fs::is_empty(folder / "."));
}

TEST(EmbeddingSet, SplitNames) {
  EXPECT_EQ(split_of_name("validation"), Split::validation);
  EXPECT_STREQ(name_of(Split::library), "library");
  expect_bad_input({"'dev'", "train"}, [] { split_of_name("dev"); });
}

TEST(EmbeddingSet, RowsAreAskedFor) {
  const EmbeddingSet whole = test::small_set({.library = 12, .queries = 4, .picture_size = 2});
  for (std::int64_t rank = 0; rank < 3; ++rank) {
    const EmbeddingSet share = test::share_of(whole, rank, 3);
    for (std::int64_t row = 0; row < whole.num_rows; ++row) {
      EXPECT_TRUE(std::ranges::equal(share.pixels_of(row), whole.pixels_of(row)));
      if (!share.holds(row)) {
        EXPECT_THROW(share.image_of(row), Error);
        continue;
      }
      EXPECT_TRUE(std::ranges::equal(share.image_of(row), whole.image_of(row)));
      EXPECT_TRUE(std::ranges::equal(share.query_of(row), whole.query_of(row)));
      if (whole.split[to_index(row)] != Split::library) continue;
      EXPECT_TRUE(std::ranges::equal(share.query_result_of(row), whole.query_result_of(row)));
    }
  }
}

}  // namespace
}  // namespace saber
