#include "tests/support/small_world.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/narrow.h"
#include "core/random.h"
#include "core/slice.h"
#include "data/embedding_set_checks.h"

namespace saber::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::vector<float> unit_rows(std::int64_t rows, std::int64_t width, std::int64_t seed, const char* purpose) {
  std::vector<float> out;
  for (std::int64_t row = 0; row < rows; ++row) {
    RandomStream stream(narrow<std::uint64_t>(seed), purpose, {row});
    for (std::int64_t i = 0; i < width; ++i) out.push_back(static_cast<float>(stream.normal()));
  }
  normalise_rows(out, width);
  return out;
}

TaskTable small_tasks(const SmallSetSizes& sizes, std::int64_t seed) {
  TaskTable tasks;
  for (std::int64_t t = 0; t < sizes.tasks; ++t) {
    const std::string number = std::to_string(t);
    tasks.name.push_back("task" + number);
    tasks.instruction.push_back("Answer question " + number + " about the picture.");
    tasks.short_instruction.push_back("Question " + number + ".");
    tasks.question.push_back(static_cast<std::int32_t>(t));
  }
  tasks.embedding = unit_rows(sizes.tasks, sizes.text_width, seed, "task");
  return tasks;
}

void add_pictures(EmbeddingSet& set, std::int64_t size, std::int64_t seed) {
  set.pixel_height = set.pixel_width = size;
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    if (size == 0) set.image_uri.push_back("picture-" + std::to_string(row / 2));
    RandomStream stream(narrow<std::uint64_t>(seed), "pixels", {row / 2});
    for (std::int64_t i = 0; i < 3 * size * size; ++i) {
      set.pixels.push_back(static_cast<std::uint8_t>(stream.below(256)));
    }
  }
}

// One query's nodes while they grow.
struct Growth {
  QueryNodes nodes;
  std::vector<std::vector<std::int64_t>> paths;  // ids, of every node
  RandomStream rewards;

  std::int64_t add(std::int64_t parent, std::int64_t icd) {
    std::vector<std::int64_t> path = parent < 0 ? std::vector<std::int64_t>{} : paths[to_index(parent)];
    if (icd >= 0) path.push_back(icd);
    const bool failed = icd >= 0 && nodes.size() % 7 == 6;
    nodes.parent.push_back(parent);
    nodes.demonstration.push_back(icd);
    nodes.reward.push_back(failed ? kNan : rewards.normal());
    nodes.status.push_back(failed ? NodeStatus::failed : NodeStatus::scored);
    paths.push_back(std::move(path));
    return nodes.size() - 1;
  }
};

QueryNodes grown_query(const EmbeddingSet& set, const ScoreTreeOrigin& origin, std::int64_t query_row) {
  std::vector<std::int64_t> allowed;
  for (const std::int64_t row : set.rows_of(Split::library)) {
    if (!set.same_picture(row, query_row)) allowed.push_back(set.id[to_index(row)]);
  }
  const std::int64_t id = set.id[to_index(query_row)];
  const auto seed = narrow<std::uint64_t>(origin.seed);
  const std::vector<std::int64_t> pool = RandomStream(seed, "small pool", {id}).sample(allowed, origin.pool_size);
  Growth growth{{}, {}, RandomStream(seed, "small rewards", {id})};
  growth.nodes.query = id;
  std::vector<std::int64_t> beam = {growth.add(-1, -1)};
  for (std::int64_t depth = 0; depth < origin.shots; ++depth) {
    std::vector<std::int64_t> next;
    for (const std::int64_t parent : beam) {
      for (const std::int64_t icd : pool) {
        const std::vector<std::int64_t>& path = growth.paths[to_index(parent)];
        if (std::find(path.begin(), path.end(), icd) == path.end()) next.push_back(growth.add(parent, icd));
      }
    }
    const auto reward = [&](std::int64_t node) { return growth.nodes.reward[to_index(node)]; };
    std::erase_if(next, [&](std::int64_t node) { return std::isnan(reward(node)); });
    std::stable_sort(next.begin(), next.end(), [&](auto a, auto b) { return reward(a) > reward(b); });
    next.resize(std::min(next.size(), to_index(origin.beam)));
    beam = std::move(next);
  }
  return growth.nodes;
}

}  // namespace

EmbeddingSet small_set(const SmallSetSizes& sizes, std::int64_t seed) {
  constexpr Split kQuerySplits[] = {Split::train, Split::validation, Split::train, Split::test};
  EmbeddingSet set;
  const std::int64_t rows = set.num_rows = sizes.library + sizes.queries;
  set.image_width = sizes.image_width;
  set.text_width = sizes.text_width;
  set.image = unit_rows(rows, sizes.image_width, seed, "image");
  set.query = unit_rows(rows, sizes.text_width, seed, "query");
  set.query_result = unit_rows(rows, sizes.text_width, seed, "query_result");
  std::int64_t num_queries = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const bool query = (row + 1) * sizes.queries / rows > num_queries;  // spread evenly
    set.id.push_back(7 * row + 3);
    set.split.push_back(query ? kQuerySplits[num_queries % 4] : Split::library);
    set.task.push_back(static_cast<std::int32_t>(row / 2 % sizes.tasks));
    set.text_query.push_back("question of row " + std::to_string(row));
    set.text_result.push_back("w" + std::to_string(row * 3 % sizes.num_words));
    if (query) {
      std::fill_n(set.query_result.begin() + row * sizes.text_width, sizes.text_width, static_cast<float>(kNan));
      ++num_queries;
    }
  }
  set.tasks = small_tasks(sizes, seed);
  add_pictures(set, sizes.picture_size, seed);
  set.fingerprint = fingerprint_of(set);
  return set;
}

EmbeddingSet share_of(const EmbeddingSet& set, std::int64_t rank, std::int64_t world_size) {
  EmbeddingSet out = set;
  const std::vector<std::int64_t> library = set.rows_of(Split::library);
  const Slice mine = slice_of_rank(static_cast<std::int64_t>(library.size()), rank, world_size);
  for (std::vector<float>* const matrix : {&out.image, &out.query, &out.query_result}) matrix->clear();
  const auto keep = [](const std::vector<float>& from, std::int64_t row, std::int64_t width, std::vector<float>& to) {
    to.insert(to.end(), from.begin() + row * width, from.begin() + (row + 1) * width);
  };
  std::int64_t item = 0, held = 0;
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    const bool in_library = set.split[to_index(row)] == Split::library;
    const bool kept = !in_library || (item >= mine.begin && item < mine.end);
    item += in_library ? 1 : 0;
    out.slot.push_back(kept ? held++ : -1);
    if (!kept) continue;
    keep(set.image, row, set.image_width, out.image);
    keep(set.query, row, set.text_width, out.query);
    keep(set.query_result, row, set.text_width, out.query_result);
  }
  return out;
}

ScoreTreeOrigin origin_for(const EmbeddingSet& set, std::int64_t shots) {
  ScoreTreeOrigin origin;
  origin.scorer = "fake scorer";
  origin.prompt_template = "none";
  origin.reduction = "log_likelihood";
  origin.data_fingerprint = set.fingerprint;
  origin.pool = "random";
  origin.shots = shots;
  return origin;
}

ScoreTree small_tree(const EmbeddingSet& set, std::int64_t shots, std::int64_t pool_size, std::int64_t beam,
                     std::int64_t seed) {
  ScoreTreeOrigin origin = origin_for(set, shots);
  origin.pool_size = pool_size;
  origin.beam = beam;
  origin.seed = seed;
  std::vector<QueryNodes> queries;
  for (const std::int64_t row : set.rows_of(Split::train)) queries.push_back(grown_query(set, origin, row));
  return build_score_tree(origin, std::move(queries));
}

}  // namespace saber::test
