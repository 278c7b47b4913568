#include "core/progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <unistd.h>

#include <memory>
#include <sstream>

#include "core/log.h"

namespace saber {
namespace {

// What is logged while `work` runs.
template <class Work>
std::string logged(const Work& work) {
  std::ostringstream out;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(out)));
  work();
  spdlog::set_default_logger(before);
  return out.str();
}

// Standard error is no terminal here, whatever the tests were started from.
class ProgressTest : public testing::Test {
 protected:
  ProgressTest() : stderr_(dup(STDERR_FILENO)) {
    const int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    close(nowhere);
  }
  ~ProgressTest() override {
    dup2(stderr_, STDERR_FILENO);
    close(stderr_);
  }

 private:
  int stderr_;
};

TEST_F(ProgressTest, TellsTheEndWithItsDetail) {
  const std::string text = logged([] {
    Progress progress("score", "queries", 4, false);
    progress.add(2, "too early to print");
    progress.add(2, "loss 0.5");
  });
  EXPECT_NE(text.find("score: 4 of 4 queries"), std::string::npos) << text;
  EXPECT_NE(text.find("0:00 left, loss 0.5"), std::string::npos) << text;
  EXPECT_EQ(text.find("too early"), std::string::npos) << text;
}

TEST_F(ProgressTest, OtherRanksAreSilent) {
  EXPECT_EQ(logged([] { Progress("score", "queries", 1, true).add(1); }), "");
}

TEST_F(ProgressTest, NothingToDoIsNoDivisionByZero) {
  const std::string text = logged([] { Progress("score", "queries", 0, false).add(0); });
  EXPECT_NE(text.find("0 of 0 queries, 0.0 queries/s, 0:00 left"), std::string::npos) << text;
}

TEST_F(ProgressTest, TimePasses) {
  const Progress progress("x", "y", 1, true);
  const double start = progress.seconds();
  EXPECT_GE(start, 0.0);
  EXPECT_GE(progress.seconds(), start);
}

}  // namespace
}  // namespace saber
