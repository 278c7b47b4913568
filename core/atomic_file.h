// Files that are either wholly there or not there, also after a crash: write beside, fsync, rename, fsync the folder.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace saber {

// Whole file as bytes. Throws bad_input with the path when it cannot be opened.
std::string read_file(const std::filesystem::path& path);

// Replaces `path` by `bytes`: afterwards it holds all of them, or what it held before.
void write_file_atomic(const std::filesystem::path& path, std::string_view bytes);

// Writes a new file and flushes it to the disk; no rename. For files inside a folder that is itself renamed later.
void write_file_durable(const std::filesystem::path& path, std::string_view bytes);

// Makes what was written to `path` (a file or a folder) survive a power cut.
void sync_path(const std::filesystem::path& path);

// rename(2) and the fsync of the folder that makes it durable.
void rename_durable(const std::filesystem::path& from, const std::filesystem::path& to);

// Creates the folder and its parents; the message names the one that failed.
void create_folders(const std::filesystem::path& path);

}  // namespace saber
