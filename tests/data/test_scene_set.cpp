#include "data/demo/scene_set.h"

#include <gtest/gtest.h>

#include "core/atomic_file.h"
#include "core/narrow.h"
#include "tests/data/hdf5_surgery.h"
#include "tests/data/temporary_folder.h"

namespace saber {
namespace {

using testing_data::expect_bad_input;
using testing_data::expect_error;
using testing_data::Hdf5Surgery;
using testing_data::TemporaryFolder;

SceneSet example() {
  SceneSet set;
  set.num_scenes = 3;
  set.height = 2;
  set.width = 4;
  for (std::size_t i = 0; i < 3 * 3 * 2 * 4; ++i) set.pixels.push_back(static_cast<std::uint8_t>(i * 3));
  set.labels = {0, 1, 1, 2, 0, 0};
  set.label_sizes = {2, 3};
  set.label_names = {"turn", "colour"};
  set.vocabulary = {"up", "down", "red", "green", "blue", "blicket"};
  set.plain_words = {0, 1, 2, 3, 4};
  return set;
}

TEST(SceneSet, RoundTripAndSameBytes) {
  TemporaryFolder folder;
  write_scene_set(folder / "a.h5", example());
  write_scene_set(folder / "b.h5", example());
  EXPECT_EQ(read_file(folder / "a.h5"), read_file(folder / "b.h5"));
  const SceneSet read = read_scene_set(folder / "a.h5");
  EXPECT_EQ(read.num_scenes, 3);
  EXPECT_EQ(read.height, 2);
  EXPECT_EQ(read.width, 4);
  EXPECT_EQ(read.pixels, example().pixels);
  EXPECT_EQ(read.labels, example().labels);
  EXPECT_EQ(read.label_sizes, example().label_sizes);
  EXPECT_EQ(read.label_names, example().label_names);
  EXPECT_EQ(read.vocabulary, example().vocabulary);
  EXPECT_EQ(read.plain_words, example().plain_words);
}

TEST(SceneSet, RefusesBadValues) {
  TemporaryFolder folder;
  const auto path = folder / "lvlm.h5";
  const auto refuses = [&](std::initializer_list<std::string> parts, auto change) {
    write_scene_set(path, example());
    {
      Hdf5Surgery file(path);
      change(file);
    }
    expect_bad_input(parts, [&] { read_scene_set(path); });
  };
  refuses({"lvlm.h5 /labels row 1", "3", "0 to 2"}, [](Hdf5Surgery& file) { file.set_int("/labels", 3, 3); });
  refuses({"/labels row 2", "-1"}, [](Hdf5Surgery& file) { file.set_int("/labels", 4, -1); });
  refuses({"/plain_words row 4", "6", "0 to 5"}, [](Hdf5Surgery& file) { file.set_int("/plain_words", 4, 6); });
  refuses({"/label_sizes row 0", ">= 1"}, [](Hdf5Surgery& file) { file.set_int("/label_sizes", 0, 0); });
  refuses({"/plain_words", "[5]", "[6]"}, [](Hdf5Surgery& file) { file.set_int("/label_sizes", 0, 3); });
  refuses({"/vocabulary", "missing"}, [](Hdf5Surgery& file) { file.remove("/vocabulary"); });
  refuses({"attribute version", "9"}, [](Hdf5Surgery& file) { file.set_int_attribute("version", 9); });
}

TEST(SceneSet, WriterRefusesUnequalColumns) {
  TemporaryFolder folder;
  SceneSet set = example();
  set.labels.pop_back();
  expect_error(ErrorKind::internal, {"label"}, [&] { write_scene_set(folder / "a.h5", set); });
}

}  // namespace
}  // namespace saber
