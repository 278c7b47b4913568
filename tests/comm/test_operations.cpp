#include "comm/operations.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace saber {
namespace {

using namespace std::chrono_literals;

TEST(Operations, NumbersThemAndKnowsWhetherThisRankWaits) {
  Operations operations;
  EXPECT_FALSE(operations.state().waiting);
  const Operation first = operations.begin("all-reduce", 40, "Float"), second = operations.begin("barrier");
  EXPECT_EQ(first.number, 1);
  EXPECT_EQ(second.number, 2);
  {
    const Operations::Wait wait(operations, first);
    EXPECT_TRUE(operations.state().waiting);
    EXPECT_EQ(operations.state().last.number, 1);
    EXPECT_EQ(operations.state().last.bytes, 40);
  }
  EXPECT_FALSE(operations.state().waiting);
  EXPECT_EQ(operations.state().last.number, 1);
}

TEST(Operations, AddsUpWhatItWaited) {
  Operations operations;
  for (int i = 0; i < 2; ++i) {
    const Operations::Wait wait(operations, operations.begin("barrier"));
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_GE(operations.state().waited, 40ms);
}

TEST(Operations, TheCheckSeesEachOneBeforeItStartsAndMayRefuse) {
  Operations operations;
  std::vector<std::string> seen;
  operations.set_check([&](const Operation& operation) {
    EXPECT_TRUE(operations.state().waiting);
    seen.emplace_back(operation.kind);
    if (seen.size() == 2) throw std::runtime_error("no");
  });
  operations.begin("broadcast");
  EXPECT_THROW(operations.begin("barrier"), std::runtime_error);
  EXPECT_EQ(seen, (std::vector<std::string>{"broadcast", "barrier"}));
  EXPECT_FALSE(operations.state().waiting);
}

TEST(Operations, SettlesOnce) {
  Operations operations;
  EXPECT_FALSE(operations.settled());
  operations.settle();
  EXPECT_TRUE(operations.settled());
}

}  // namespace
}  // namespace saber
