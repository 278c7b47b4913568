// Selection over a sharded library against one process that holds all of it, which every rank is for itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "core/narrow.h"
#include "tests/comm/mpi_world.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/gradient_check.h"
#include "tests/support/small_world.h"
#include "trainer/baselines/baselines.h"
#include "trainer/search/selector.h"

namespace saber {
namespace {

using test::mpi_world;
using Rows = std::vector<std::int64_t>;

// A whole set, and the share of it that this rank holds.
struct SharedWorld {
  EmbeddingSet whole, share;
  std::int64_t max_logit_bytes = 1 << 20;
  ProcessGroupPtr group = make_process_group(mpi_world(), {"mpi"});

  explicit SharedWorld(EmbeddingSet set)
      : whole(std::move(set)), share(test::share_of(whole, mpi_world().rank(), mpi_world().world_size())) {}

  static SharedWorld of(std::int64_t library, std::int64_t queries = 150) {
    test::SmallSetSizes sizes;
    sizes.library = library;
    sizes.queries = queries;
    return SharedWorld(test::small_set(sizes));
  }
  Rows queries() const {
    Rows out;
    for (const Split split : {Split::train, Split::validation, Split::test}) {
      for (const std::int64_t row : whole.rows_of(split)) out.push_back(row);
    }
    return out;
  }
  static SaberModel model(const Features& features) {
    ModelSettings settings;
    settings.width = 32;
    settings.max_shots = 16;
    SaberModel out(settings, features.widths(), 1);
    test::randomise(*out, 2, 0.3);
    return out;
  }
  std::vector<Selection> select(const SelectOptions& options, const Rows& rows, bool sharded) const {
    const EmbeddingSet& set = sharded ? share : whole;
    const Features features(set, torch::kFloat32);
    const Library library(set);
    const LibraryHead head(library, features, {sharded ? group.get() : nullptr, max_logit_bytes});
    return Selector(model(features), head, options).select(set, features, rows);
  }
  // Both ways; returns what they agree on.
  std::vector<Selection> expect_equal(const SelectOptions& options, const std::string& label) const {
    const std::vector<Selection> wanted = select(options, queries(), false), found = select(options, queries(), true);
    EXPECT_EQ(found.size(), wanted.size()) << label;
    for (std::size_t q = 0; q < std::min(found.size(), wanted.size()); ++q) {
      EXPECT_EQ(found[q].rows, wanted[q].rows) << label << " query " << q;
      for (std::size_t i = 0; i < wanted[q].log_probabilities.size(); ++i)
        EXPECT_NEAR(found[q].log_probabilities[i], wanted[q].log_probabilities[i], 1e-5) << label << " query " << q;
    }
    return found;
  }
  // The error of the sharded selection is that of one process, on all ranks.
  void expect_same_refusal(const SelectOptions& options, const std::string& part) const {
    const auto message = [&](bool sharded) -> std::string {
      try {
        select(options, queries(), sharded);
      } catch (const Error& error) {
        return error.what();
      }
      return "nothing thrown";
    };
    const std::string wanted = message(false);
    EXPECT_NE(wanted.find(part), std::string::npos) << wanted;
    for (const std::string& of_rank : mpi_world().all_gather(message(true))) EXPECT_EQ(of_rank, wanted);
  }
};

// Greedy and a beam of three, with each option alone and all together.
std::vector<std::pair<std::string, SelectOptions>> all_options(const EmbeddingSet& set) {
  std::vector<std::pair<std::string, SelectOptions>> out;
  const Rows library = set.rows_of(Split::library);
  Rows excluded;
  for (std::size_t i = 0; i < library.size(); i += 3) excluded.push_back(set.id[to_index(library[i])]);
  for (const std::int64_t beam : {1, 3}) {
    SelectOptions free;
    free.beam = beam;
    SelectOptions task = free, pictures = free, answers = free, without = free, all = free;
    task.same_task = pictures.distinct_pictures = answers.distinct_answers = true;
    all.same_task = all.distinct_pictures = all.distinct_answers = true;
    without.excluded = all.excluded = excluded;
    const std::string name = "beam " + std::to_string(beam);
    for (const auto& [label, options] : {std::pair("free", free),
                                         {"task", task},
                                         {"pictures", pictures},
                                         {"answers", answers},
                                         {"excluded", without},
                                         {"all", all}})
      out.emplace_back(name + " " + label, options);
  }
  return out;
}

TEST(SelectRanks, GreedyAndBeamWithEveryOptionEqualOneProcess) {
  const SharedWorld world = SharedWorld::of(60);
  std::set<Rows> distinct;
  for (const auto& [label, options] : all_options(world.whole)) {
    for (const Selection& selection : world.expect_equal(options, label)) distinct.insert(selection.rows);
  }
  EXPECT_GT(distinct.size(), 100U);
}

TEST(SelectRanks, EveryOptionIsKeptAcrossShards) {
  const SharedWorld world = SharedWorld::of(60);
  const EmbeddingSet& set = world.whole;
  const Rows queries = world.queries();
  for (const auto& [label, options] : all_options(set)) {
    const std::vector<Selection> found = world.select(options, queries, true);
    for (std::size_t q = 0; q < queries.size(); ++q) {
      std::set<std::string> pictures, answers;
      std::set<std::int64_t> rows;
      for (const std::int64_t row : found[q].rows) {
        EXPECT_TRUE(rows.insert(row).second) << label;
        EXPECT_FALSE(set.same_picture(row, queries[q])) << label;
        EXPECT_TRUE(pictures.insert(set.image_uri[to_index(row)]).second || !options.distinct_pictures) << label;
        EXPECT_TRUE(answers.insert(set.text_result[to_index(row)]).second || !options.distinct_answers) << label;
        EXPECT_TRUE(!options.same_task || set.task[to_index(row)] == set.task[to_index(queries[q])]) << label;
        EXPECT_EQ(std::count(options.excluded.begin(), options.excluded.end(), set.id[to_index(row)]), 0) << label;
      }
    }
  }
}

// Spans of logits, and matrix products whose last block is not full.
TEST(SelectRanks, AnyNumberOfBlocksAndSpansGivesTheSame) {
  SharedWorld world = SharedWorld::of(1300, 70);
  for (const std::int64_t bytes : {std::int64_t{1}, std::int64_t{300'000}, std::int64_t{1} << 30}) {
    world.max_logit_bytes = bytes;
    for (const std::int64_t beam : {1, 3}) {
      SelectOptions options;
      options.beam = beam;
      world.expect_equal(options, std::to_string(bytes));
    }
  }
}

TEST(SelectRanks, ALibrarySmallerThanTheWorld) {
  for (const std::int64_t library : {3, 2, 1}) {
    SharedWorld world = SharedWorld::of(library, 10);
    world.whole.image_uri.assign(world.whole.image_uri.size(), "");  // no picture is a query's own
    world = SharedWorld(world.whole);
    for (const std::int64_t beam : {1, 3}) {
      SelectOptions options;
      options.beam = beam;
      options.shots = library;
      const auto found = world.expect_equal(options, std::to_string(library));
      for (const Selection& selection : found)
        EXPECT_EQ(std::set<std::int64_t>(selection.rows.begin(), selection.rows.end()).size(), to_index(library));
    }
  }
}

// Every embedding stands in the library many times, in all shards.
SharedWorld tied_world(std::int64_t library, std::int64_t distinct) {
  EmbeddingSet set = SharedWorld::of(library, 70).whole;
  const Rows rows = set.rows_of(Split::library);
  for (std::int64_t item = distinct; item < library; ++item) {
    const auto copy = [&](std::vector<float>& matrix, std::int64_t width) {
      std::copy_n(matrix.begin() + rows[to_index(item % distinct)] * width, width,
                  matrix.begin() + rows[to_index(item)] * width);
    };
    copy(set.image, set.image_width);
    copy(set.query_result, set.text_width);
  }
  return SharedWorld(std::move(set));
}

TEST(SelectRanks, OfEqualItemsTheSmallestIsChosenWhateverTheShards) {
  for (const auto& [library, distinct] : {std::pair<std::int64_t, std::int64_t>{40, 7}, {1300, 97}, {1025, 3}}) {
    const SharedWorld world = tied_world(library, distinct);
    const EmbeddingSet& set = world.whole;
    const Rows rows = set.rows_of(Split::library), queries = world.queries();
    for (const std::int64_t beam : {1, 3}) {
      SelectOptions options;
      options.beam = beam;
      options.shots = 5;
      const std::vector<Selection> found = world.expect_equal(options, std::to_string(library));
      for (std::size_t q = 0; q < queries.size(); ++q) {
        Rows before;
        for (const std::int64_t chosen : found[q].rows) {
          const std::int64_t item = std::lower_bound(rows.begin(), rows.end(), chosen) - rows.begin();
          for (std::int64_t smaller = item % distinct; smaller < item; smaller += distinct) {
            const std::int64_t row = rows[to_index(smaller)];
            EXPECT_TRUE(std::count(before.begin(), before.end(), row) == 1 || set.same_picture(row, queries[q]))
                << "item " << item << " though " << smaller << " was free, beam " << beam;
          }
          before.push_back(chosen);
        }
      }
    }
  }
}

// The query's picture is shown on both sides of every border between shards, and all other items are asked for.
TEST(SelectRanks, TheQuerysOwnPictureIsLeftOutOnBothSidesOfABorder) {
  constexpr std::int64_t kLibrary = 14;
  EmbeddingSet set = SharedWorld::of(kLibrary, 70).whole;
  set.image_uri.assign(set.image_uri.size(), "");
  const Rows library = set.rows_of(Split::library);
  std::set<std::int64_t> own;
  for (std::int64_t rank = 1; rank < mpi_world().world_size(); ++rank) {
    const std::int64_t border = slice_of_rank(kLibrary, rank, mpi_world().world_size()).begin;
    own.insert({border - 1, border});
  }
  for (const std::int64_t item : own) set.image_uri[to_index(library[to_index(item)])] = "own";
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    if (set.split[to_index(row)] != Split::library) set.image_uri[to_index(row)] = "own";
  }
  const SharedWorld world(std::move(set));
  for (const std::int64_t beam : {1, 3}) {
    SelectOptions options;
    options.beam = beam;
    options.shots = kLibrary - size_of(own);
    for (const Selection& selection : world.expect_equal(options, "own")) {
      for (const std::int64_t row : selection.rows) EXPECT_EQ(world.whole.image_uri[to_index(row)], "");
    }
    options.shots += 1;
    world.expect_same_refusal(options, "none such found for query");
  }
}

TEST(SelectRanks, WhereNoSequenceExistsAllRanksSaySo) {
  const SharedWorld world = SharedWorld::of(40);
  SelectOptions many;
  many.shots = 41;
  world.expect_same_refusal(many, "41 demonstrations wanted");
  for (const std::int64_t beam : {1, 3}) {
    SelectOptions answers;  // seen at the last position only: there are five
    answers.beam = beam;
    answers.shots = 6;
    answers.distinct_answers = true;
    world.expect_same_refusal(answers, "6 demonstrations wanted");
  }
  SelectOptions excluding;
  excluding.excluded = {5};
  world.expect_same_refusal(excluding, "holds 5, which is no library row's id");
}

// One query among three blocks: the ranks of the other blocks throw too, and name it.
TEST(SelectRanks, ARefusalNamesTheQueryWhicheverRankReadIt) {
  for (const std::size_t lonely : {std::size_t{3}, std::size_t{70}, std::size_t{149}}) {
    EmbeddingSet set = SharedWorld::of(40).whole;
    set.tasks.name.push_back("lonely");
    set.tasks.instruction.push_back("");
    set.tasks.short_instruction.push_back("");
    set.tasks.question.push_back(2);
    set.tasks.embedding.insert(set.tasks.embedding.end(), set.tasks.embedding.begin(),
                               set.tasks.embedding.begin() + set.text_width);
    const std::int64_t query = SharedWorld(set).queries()[lonely];
    set.task[to_index(query)] = 2;
    const SharedWorld world(set);
    SelectOptions options;
    options.same_task = true;
    world.expect_same_refusal(options, "for query " + std::to_string(set.id[to_index(query)]) + " among");
  }
}

TEST(SelectRanks, LogitsThatAreNoNumbersInOneShardStopAllRanks) {
  EmbeddingSet set = SharedWorld::of(40).whole;
  const std::int64_t last = set.rows_of(Split::library).back();
  set.image[to_index(last * set.image_width)] = std::numeric_limits<float>::quiet_NaN();
  const SharedWorld world(std::move(set));
  testing_data::expect_error(ErrorKind::internal, {"no numbers"},
                             [&] { world.select(SelectOptions(), world.queries(), true); });
}

TEST(SelectRanks, BaselinesFromSharesEqualThoseFromTheWhole) {
  for (const std::int64_t library : {60, 3}) {
    for (const bool tied : {false, true}) {
      const SharedWorld world = tied ? tied_world(library, 2) : SharedWorld::of(library);
      const Baselines whole(world.whole, 4, 1), shares(world.share, 4, 1, world.group.get());
      for (const std::string& name : Baselines::names())
        EXPECT_EQ(shares.select(name, world.queries()), whole.select(name, world.queries())) << name << library << tied;
    }
  }
}

}  // namespace
}  // namespace saber
