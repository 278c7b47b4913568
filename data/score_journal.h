// Journals of `saber score`: each rank appends the finished queries as checksummed records to a file of its own, beside
// the output. After a kill the whole records count and a torn last record does not.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/score_tree.h"

namespace saber {

class ScoreJournal {
 public:
  // Creates `folder`/attempt-AAAA-rank-RRRRR.journal and writes its header, which holds the origin.
  ScoreJournal(const std::filesystem::path& folder, std::int64_t attempt, int rank, const ScoreTreeOrigin& origin);
  ~ScoreJournal();
  ScoreJournal(const ScoreJournal&) = delete;
  ScoreJournal& operator=(const ScoreJournal&) = delete;

  // One write call per record; durable after sync().
  void append(const QueryNodes& nodes);
  void sync();

 private:
  std::filesystem::path path_;
  int fd_;
};

struct JournalContents {
  std::vector<QueryNodes> queries;  // by query id, each once
  std::int64_t next_attempt = 0;    // larger than any attempt found
};

// All whole records of all journals in `folder` (none when it does not exist). A journal of another origin throws
// bad_input that names the file and the first difference. A torn or damaged record ends its file with a warning.
JournalContents read_journals(const std::filesystem::path& folder, const ScoreTreeOrigin& origin);

}  // namespace saber
