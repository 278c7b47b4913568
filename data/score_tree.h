// The score tree D_S, format `saber-scores` version 1 (docs/formats.md): one row per scored demonstration sequence.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

namespace saber {

enum class NodeStatus : std::uint8_t { scored = 0, failed = 1, prefix_only = 2 };

// Where a tree comes from; stored as attributes of the file and compared before it is used or continued.
struct ScoreTreeOrigin {
  std::string scorer;            // kind and fingerprint of the LVLM
  std::string prompt_template;   // how demonstrations become a prompt
  std::string reduction;         // what the reward is, "log_likelihood"
  std::string data_fingerprint;  // EmbeddingSet::fingerprint
  std::string pool;              // kind and size of the candidate pools
  std::int64_t shots = 0;        // N
  std::int64_t beam = 0;         // b
  std::int64_t pool_size = 0;    // c
  std::int64_t seed = 0;
  bool operator==(const ScoreTreeOrigin&) const = default;
};

// Columns of equal length M. A node is the sequence from its query's root down to it; its parent is the sequence
// without the last demonstration. Rows of one query are adjacent; order: query id, depth, parent row, icd id.
struct ScoreTree {
  ScoreTreeOrigin origin;
  std::vector<std::int64_t> query;          // id of the query sample
  std::vector<std::int64_t> parent;         // row, -1 at a root
  std::vector<std::int64_t> demonstration;  // id of the one appended, -1 at a root
  std::vector<double> reward;               // of the whole sequence; NaN where status is not scored
  std::vector<NodeStatus> status;

  std::int64_t size() const { return static_cast<std::int64_t>(query.size()); }
};

// The nodes of one query before they are part of a tree; parents count within the query, parents before children.
struct QueryNodes {
  std::int64_t query = -1;
  std::vector<std::int64_t> parent;
  std::vector<std::int64_t> demonstration;
  std::vector<double> reward;
  std::vector<NodeStatus> status;

  std::int64_t size() const { return static_cast<std::int64_t>(parent.size()); }
};

// Brings the queries into the order of the format, whatever order they and their nodes come in.
ScoreTree build_score_tree(ScoreTreeOrigin origin, std::vector<QueryNodes> queries);

// Same tree, same bytes: contiguous data sets in a fixed order, no object times, temporary name and rename.
void write_score_tree(const std::filesystem::path& path, const ScoreTree& tree);

// Checks format, version, equal lengths, order of rows, parents, statuses, finite rewards. Throws bad_input with file,
// data set and row.
ScoreTree read_score_tree(const std::filesystem::path& path);

// Attributes only, to see cheaply whether a file is the wanted tree.
ScoreTreeOrigin read_score_tree_origin(const std::filesystem::path& path);

}  // namespace saber
