// A training run's folder: metrics.jsonl, samples.jsonl, checkpoints/. Rank 0 alone writes it.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace saber {

// One JSON object per line, each line one write call. After a resume the lines of steps that are done again are cut
// off, so that the file holds every step once.
class StepLog {
 public:
  // Keeps the lines whose "step" is at most `last_step`; a torn last line goes too.
  StepLog(const std::filesystem::path& path, std::int64_t last_step);
  ~StepLog();
  StepLog(const StepLog&) = delete;
  StepLog& operator=(const StepLog&) = delete;

  void write(const nlohmann::ordered_json& line);
  // To the disk; called before a checkpoint counts on the lines.
  void sync();

 private:
  std::filesystem::path path_;
  int fd_;
};

// Calls `use` with every sample name and reward in the text of a samples.jsonl, in order; a reward that failed is
// nothing. A torn last line does not count.
void for_each_reward(const std::string& samples,
                     const std::function<void(const std::string&, std::optional<double>)>& use);

}  // namespace saber
