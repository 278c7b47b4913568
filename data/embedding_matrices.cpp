#include "data/embedding_matrices.h"

#include <algorithm>
#include <span>

#include "core/hash.h"
#include "core/narrow.h"
#include "core/slice.h"
#include "data/embedding_set_checks.h"
#include "data/hdf5_file.h"

namespace saber {
namespace {

constexpr std::int64_t kBlockRows = 4096;

// Slot of each row among those held; empty when all are.
std::vector<std::int64_t> slots_of(const EmbeddingSet& set, const EmbeddingShare& share) {
  if (share.world_size == 1) return {};
  const std::int64_t library = size_of(set.rows_of(Split::library));
  const Slice mine = slice_of_rank(library, share.rank, share.world_size);
  std::vector<std::int64_t> slot(to_index(set.num_rows), -1);
  std::int64_t held = 0, item = 0;
  for (std::int64_t row = 0; row < set.num_rows; ++row) {
    const bool in_library = set.split[to_index(row)] == Split::library;
    if (!in_library || (item >= mine.begin && item < mine.end)) slot[to_index(row)] = held++;
    if (in_library) ++item;
  }
  return slot;
}

class MatrixReader {
 public:
  MatrixReader(const std::vector<MatrixPart>& parts, const EmbeddingShare& share, const EmbeddingSet& set)
      : parts_(parts), share_(share), set_(set) {
    for (std::int64_t row = 0; row < set.num_rows; ++row) held_ += slot(row) >= 0 ? 1 : 0;
    if (share.check) add_columns(set, fingerprint_);
  }
  // results: only library rows count, all others are zero; parts may leave them out.
  std::vector<float> read(const std::string& name, std::int64_t width, bool results) {
    const bool present =
        !results || std::any_of(parts_.begin(), parts_.end(), [](const MatrixPart& part) { return part.has_results; });
    fingerprint_.begin_values(narrow<std::uint64_t>(present ? set_.num_rows * width : 0));
    if (!present) return {};
    std::vector<float> out(to_index(held_ * width));
    for (const MatrixPart& part : parts_) {
      const Hdf5Reader file(part.path);
      for (std::int64_t first = 0; first < part.num_rows; first += kBlockRows) {
        const std::int64_t count = std::min(kBlockRows, part.num_rows - first);
        if (!share_.check && !holds(part.first_row + first, count)) continue;
        std::vector<float> block(to_index(count * width), 0.0F);
        if (!results || part.has_results) block = file.read_float_rows(name, {part.num_rows, width}, first, count);
        if (results) clear_others(block, part.first_row + first, width);
        if (share_.check) {
          check(block, width, part.first_row + first, results,
                [&](std::int64_t row) { return file.place(name, first + row); });
          fingerprint_.add_more(std::span<const float>(block));
        }
        keep(block, part.first_row + first, width, out);
      }
    }
    return out;
  }
  std::string fingerprint() const { return share_.check ? fingerprint_.hex() : ""; }

 private:
  std::int64_t slot(std::int64_t row) const { return set_.slot.empty() ? row : set_.slot[to_index(row)]; }
  bool holds(std::int64_t first, std::int64_t count) const {
    for (std::int64_t row = first; row < first + count; ++row) {
      if (slot(row) >= 0) return true;
    }
    return false;
  }
  bool in_library(std::int64_t row) const { return set_.split[to_index(row)] == Split::library; }

  // Rows that are no library rows may hold anything there, also NaN.
  void clear_others(std::vector<float>& block, std::int64_t first, std::int64_t width) const {
    for (std::int64_t i = 0; i < size_of(block) / width; ++i) {
      if (!in_library(first + i)) std::fill_n(block.begin() + i * width, width, 0.0F);
    }
  }
  // first: row of the set that the block begins with.
  void check(const std::vector<float>& block, std::int64_t width, std::int64_t first, bool results,
             const PlaceOfRow& place_of_row) const {
    if (!results) return require_vectors(block, width, place_of_row);
    for (std::int64_t i = 0; i < size_of(block) / width; ++i) {
      if (!in_library(first + i)) continue;
      const auto begin = block.begin() + i * width;
      require_vectors({begin, begin + width}, width, [&](std::int64_t) { return place_of_row(i); });
    }
  }
  void keep(std::vector<float>& block, std::int64_t first, std::int64_t width, std::vector<float>& out) const {
    normalise_rows(block, width);
    for (std::int64_t i = 0; i < size_of(block) / width; ++i) {
      const std::int64_t to = slot(first + i);
      if (to >= 0) std::copy_n(block.begin() + i * width, width, out.begin() + to * width);
    }
  }

  const std::vector<MatrixPart>& parts_;
  EmbeddingShare share_;
  const EmbeddingSet& set_;
  std::int64_t held_ = 0;
  Fingerprint fingerprint_;
};

}  // namespace

void read_matrices(const std::vector<MatrixPart>& parts, const EmbeddingShare& share, EmbeddingSet& set) {
  set.slot = slots_of(set, share);
  MatrixReader reader(parts, share, set);
  set.image = reader.read("/image", set.image_width, /*results=*/false);
  set.query = reader.read("/query", set.text_width, false);
  set.query_result = reader.read("/query_result", set.text_width, true);
  set.fingerprint = reader.fingerprint();
}

}  // namespace saber
