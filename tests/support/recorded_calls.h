// Which bytes and names reach the disk in which order: the program's own write, fsync and rename, seen from inside.
// A kill cannot show this, since what the kernel holds survives it; a power cut cannot be made in a test.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace saber::test {

// Runs `work` and returns its calls on files and folders below `folder`, in order: "write PATH", "sync PATH" (of fsync
// or fdatasync) and "rename FROM TO", with paths relative to `folder`. Calls of other threads count, too.
std::vector<std::string> recorded_calls(const std::filesystem::path& folder, const std::function<void()>& work);

}  // namespace saber::test
