// Progress of long work: done, rate, time left. One line rewritten on a terminal, plain lines elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace saber {

class Progress {
 public:
  // what: "score", unit: "queries". total may be 0. A silent Progress (ranks other than 0) prints nothing.
  Progress(std::string what, std::string unit, std::int64_t total, bool silent);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // detail is appended to the line, for example "loss 0.7312".
  void add(std::int64_t count, const std::string& detail = {});
  double seconds() const;

 private:
  void print(const std::string& detail) const;

  std::string what_;
  std::string unit_;
  std::int64_t total_;
  std::int64_t done_ = 0;
  bool silent_;
  bool terminal_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_print_;
};

}  // namespace saber
