#include "core/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/fail_point.h"
#include "tests/support/recorded_calls.h"

namespace saber {
namespace {

namespace fs = std::filesystem;

class AtomicFile : public testing::Test {
 protected:
  AtomicFile() : folder_(fs::path(testing::TempDir()) / ("saber-atomic-" + std::to_string(getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~AtomicFile() override { fs::remove_all(folder_); }

  std::int64_t num_entries() const { return std::distance(fs::directory_iterator(folder_), fs::directory_iterator()); }

  const fs::path folder_;
};

TEST_F(AtomicFile, ReplacesAllBytesAndLeavesNothingBeside) {
  const fs::path path = folder_ / "f";
  write_file_atomic(path, std::string("long\0with zero", 14));
  EXPECT_EQ(read_file(path), std::string("long\0with zero", 14));
  write_file_atomic(path, "s");
  EXPECT_EQ(read_file(path), "s");
  write_file_atomic(path, "");
  EXPECT_EQ(read_file(path), "");
  EXPECT_EQ(num_entries(), 1);
}

TEST_F(AtomicFile, AReaderNeverSeesAPart) {
  const fs::path path = folder_ / "f";
  const std::string a(100'000, 'a'), b(50'000, 'b');
  write_file_atomic(path, a);
  const pid_t writer = fork();
  if (writer == 0) {
    for (int i = 0; i < 100; ++i) {
      write_file_atomic(path, b);
      write_file_atomic(path, a);
    }
    _exit(0);
  }
  int status = 0;
  while (waitpid(writer, &status, WNOHANG) == 0) {
    const std::string found = read_file(path);
    EXPECT_TRUE(found == a || found == b) << found.size();
  }
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(path), a);
}

TEST_F(AtomicFile, ErrorsNameThePath) {
  const fs::path missing = folder_ / "no" / "f";
  for (const auto& work :
       {+[](const fs::path& p) { write_file_atomic(p, "x"); }, +[](const fs::path& p) { read_file(p); },
        +[](const fs::path& p) { sync_path(p); }, +[](const fs::path& p) { rename_durable(p, p); }}) {
    try {
      work(missing);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("no"), std::string::npos);
      EXPECT_NE(std::string(error.what()).find("No such file"), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(read_file(folder_), Error);
}

TEST_F(AtomicFile, FoldersAreCreatedOrRefused) {
  create_folders(folder_ / "a" / "b");
  EXPECT_TRUE(fs::is_directory(folder_ / "a" / "b"));
  EXPECT_NO_THROW(create_folders(folder_ / "a" / "b"));
  write_file_durable(folder_ / "file", "");
  EXPECT_THROW(create_folders(folder_ / "file" / "b"), Error);
}

using Calls = std::vector<std::string>;

TEST_F(AtomicFile, BytesAreOnTheDiskBeforeTheNameAndTheNameBeforeTheReturn) {
  const auto calls = test::recorded_calls(folder_, [&] { write_file_atomic(folder_ / "f", "bytes"); });
  EXPECT_EQ(calls, (Calls{"write .f.tmp", "sync .f.tmp", "rename .f.tmp f", "sync ."}));
}

TEST_F(AtomicFile, ADurableFileIsSyncedAfterItsLastByte) {
  const auto calls = test::recorded_calls(folder_, [&] { write_file_durable(folder_ / "f", "bytes"); });
  EXPECT_EQ(calls, (Calls{"write f", "sync f"}));
}

TEST_F(AtomicFile, ARenameSyncsTheFolderThatHoldsTheNewName) {
  create_folders(folder_ / "to");
  write_file_durable(folder_ / "f", "bytes");
  const auto calls = test::recorded_calls(folder_, [&] { rename_durable(folder_ / "f", folder_ / "to" / "g"); });
  EXPECT_EQ(calls, (Calls{"rename f to/g", "sync to"}));
}

// How a child that calls the fail point "here" three times ends: its exit status, or minus the signal.
int end_with_fail_point(const char* value) {
  const pid_t child = fork();
  if (child == 0) {
    setenv("SABER_FAIL_POINT", value, 1);
    for (int i = 0; i < 3; ++i) fail_point("here");
    _exit(5);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

TEST(FailPoint, KillsOnlyWhereItIsAskedTo) {
  EXPECT_EQ(end_with_fail_point("here"), -SIGKILL);
  EXPECT_EQ(end_with_fail_point("here@3"), -SIGKILL);
  EXPECT_EQ(end_with_fail_point("here@4"), 5);
  EXPECT_EQ(end_with_fail_point("her"), 5);
  EXPECT_EQ(end_with_fail_point("here2"), 5);
  EXPECT_EQ(end_with_fail_point(""), 5);
}

}  // namespace
}  // namespace saber
