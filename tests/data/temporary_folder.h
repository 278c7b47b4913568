// A folder that lives as long as a test.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/error.h"

namespace saber::testing_data {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "saber-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// Runs `action`, which must throw an Error of `kind` whose whole text holds every one of `parts`.
template <class Action>
void expect_error(ErrorKind kind, std::initializer_list<std::string> parts, Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << "no '" << part << "' in: " << error.what();
    }
    return;
  }
  ADD_FAILURE() << "nothing thrown, wanted an error with '" << (parts.size() > 0 ? *parts.begin() : "") << "'";
}

template <class Action>
void expect_bad_input(std::initializer_list<std::string> parts, Action action) {
  expect_error(ErrorKind::bad_input, parts, action);
}

}  // namespace saber::testing_data
