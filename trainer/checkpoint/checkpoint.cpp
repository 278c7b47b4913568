#include "trainer/checkpoint/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/fail_point.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/narrow.h"

namespace saber {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kFormat = "saber-checkpoint";
constexpr int kVersion = 1;
constexpr const char* kManifest = "manifest.json";
constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optimizer-00000-of-00001.safetensors";
constexpr const char* kState = "state.json";
constexpr const char* kConfig = "config.json";
// The only files that are ever opened: a name that a manifest holds is compared with these, never used as a path.
constexpr std::array kFiles = {kModel, kOptimizer, kState, kConfig};
constexpr std::string_view kStepPrefix = "step-";
constexpr std::string_view kTemporaryPrefix = ".tmp-";
constexpr std::string_view kOldPrefix = ".old-";

std::string step_name(std::int64_t step) {
  return fmt::format("{}{:08}", kStepPrefix, step);
}

// The step of a folder named as step_name does, else nothing.
std::optional<std::int64_t> step_of(const std::string& name) {
  std::int64_t step = 0;
  const auto digits = std::min(name.size(), kStepPrefix.size());
  const auto result = std::from_chars(name.data() + digits, name.data() + name.size(), step);
  return result.ec == std::errc{} && step_name(step) == name ? std::optional(step) : std::nullopt;
}

fs::path checkpoints_of(const fs::path& run_folder) {
  return run_folder / "checkpoints";
}

json to_json(const TrainState& state) {
  return {{"step", state.step},
          {"data_fingerprint", state.data_fingerprint},
          {"units_fingerprint", state.units_fingerprint},
          {"world_size", state.world_size},
          {"build", state.build}};
}

TrainState state_from(const json& stored) {
  TrainState state;
  stored.at("step").get_to(state.step);
  stored.at("data_fingerprint").get_to(state.data_fingerprint);
  stored.at("units_fingerprint").get_to(state.units_fingerprint);
  stored.at("world_size").get_to(state.world_size);
  stored.at("build").get_to(state.build);
  return state;
}

json read_json(const fs::path& path) {
  try {
    return json::parse(read_file(path));
  } catch (const json::exception& error) {
    throw_bad_input(fmt::format("is not the JSON that SabER writes: {}", error.what()), path.string());
  }
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code code;
  std::vector<fs::path> out;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) out.push_back(it->path());
  if (code) throw_io("cannot list the folder", folder.string(), code.value());
  return out;
}

std::int64_t bytes_of(const fs::path& path) {
  std::error_code code;
  const auto size = fs::file_size(path, code);
  if (code) throw_bad_input(fmt::format("cannot read its size: {}", code.message()), path.string());
  return narrow<std::int64_t>(size);
}

json describe_files(const fs::path& folder) {
  json out = json::object();
  for (const std::string name : kFiles) {
    out[name] = {{"size", bytes_of(folder / name)}, {"xxh3_128", hash128_hex_of_file(folder / name)}};
  }
  return out;
}

json manifest_of(const json& files, std::int64_t step) {
  return {{"format", kFormat}, {"version", kVersion}, {"files", files}, {"step", step}};
}

// Manifest with the right format, the step of the folder's name and exactly our four files; throws otherwise.
json read_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifest;
  json manifest = read_json(path);
  const auto step = step_of(folder.filename().string());
  if (!step) throw_bad_input("is no folder of a checkpoint, wanted a name like step-00001200", folder.string());
  if (!manifest.is_object() || !manifest.contains("files") || !manifest["files"].is_object() ||
      manifest != manifest_of(manifest["files"], *step)) {
    throw_bad_input(fmt::format("is no {} version {} of step {}", kFormat, kVersion, *step), path.string());
  }
  for (const auto& [name, entry] : manifest["files"].items()) {
    if (std::find(kFiles.begin(), kFiles.end(), name) == kFiles.end()) {
      throw_bad_input(fmt::format("names a file '{}', wanted only {}", name, fmt::join(kFiles, ", ")), path.string());
    }
  }
  if (manifest["files"].size() != kFiles.size()) {
    throw_bad_input(fmt::format("wanted all of {}", fmt::join(kFiles, ", ")), path.string());
  }
  return manifest;
}

// The state of the step that the folder's name says; throws otherwise.
TrainState read_state(const fs::path& folder) {
  const json stored = read_json(folder / kState);
  TrainState state;
  try {
    state = state_from(stored);
  } catch (const json::exception& error) {
    throw_bad_input(fmt::format("is not the state of a run: {}", error.what()), (folder / kState).string());
  }
  if (step_name(state.step) != folder.filename())
    throw_bad_input(fmt::format("is of step {}, unlike its folder", state.step), (folder / kState).string());
  return state;
}

// Cheap form of verify_checkpoint: no file but the manifest is read.
bool looks_complete(const fs::path& folder) {
  try {
    const json manifest = read_manifest(folder);
    return std::all_of(kFiles.begin(), kFiles.end(), [&](const char* name) {
      return manifest["files"][name].value("size", std::int64_t{-1}) == bytes_of(folder / name);
    });
  } catch (const std::exception&) {
    return false;
  }
}

bool verifies(const fs::path& folder) {
  try {
    verify_checkpoint(folder);
    return true;
  } catch (const Error&) {
    return false;
  }
}

void remove_folder(const fs::path& path) {
  std::error_code code;
  fs::remove_all(path, code);
  if (code) throw_io("cannot remove", path.string(), code.value());
}

// Out of the readers' sight in one step, then piece by piece.
void retire(const fs::path& folder) {
  const fs::path old = folder.parent_path() / (std::string(kOldPrefix) + folder.filename().string());
  rename_durable(folder, old);
  fail_point("save:old-renamed");
  remove_folder(old);
}

void write_folder(const fs::path& folder, const Checkpoint& checkpoint) {
  const auto write = [&](const char* name, const std::string& bytes) {
    write_file_durable(folder / name, bytes);
    fail_point("save:file-written");
    return json{{"size", size_of(bytes)}, {"xxh3_128", hash128_hex(bytes)}};
  };
  json files;
  files[kModel] = write(kModel, to_safetensors(checkpoint.model, checkpoint.model_metadata));
  files[kOptimizer] = write(kOptimizer, to_safetensors(checkpoint.optimizer, {}));
  files[kConfig] = write(kConfig, checkpoint.config.dump(2));
  files[kState] = write(kState, to_json(checkpoint.state).dump(2));
  fail_point("save:before-manifest");
  write_file_durable(folder / kManifest, manifest_of(files, checkpoint.state.step).dump());
  fail_point("save:manifest-written");
  sync_path(folder);
}

// Counts only checkpoints that verify: a damaged one, even of the right sizes, is no reason to remove one that still
// loads. Checksums are compared only when there is one to remove, and only of those that stay instead: `keep` - 1 of
// them, since `newest` was verified or written just now. No memory of earlier checks stands in for reading: a bit that
// flips on the disk changes neither size nor time.
void retain(const fs::path& run_folder, std::int64_t newest, std::int64_t keep) {
  std::vector<fs::path> complete;  // newest first
  for (const std::int64_t step : list_checkpoints(run_folder)) {
    const fs::path folder = checkpoints_of(run_folder) / step_name(step);
    if (step <= newest && looks_complete(folder)) complete.push_back(folder);
  }
  if (size_of(complete) <= keep) return;
  std::int64_t kept = 0;
  for (const fs::path& folder : complete) {
    if (kept == keep) {
      retire(folder);
    } else if (folder.filename() == step_name(newest) || verifies(folder)) {
      ++kept;
    }
  }
}

}  // namespace

void remove_checkpoint_leftovers(const fs::path& run_folder) {
  if (!fs::exists(checkpoints_of(run_folder))) return;
  for (const fs::path& path : entries_of(checkpoints_of(run_folder))) {
    const std::string name = path.filename().string();
    if (name.starts_with(kTemporaryPrefix) || name.starts_with(kOldPrefix)) remove_folder(path);
  }
}

void save_checkpoint(const fs::path& run_folder, const Checkpoint& checkpoint, std::int64_t keep) {
  ensure(keep >= 1, "at least one checkpoint is kept");
  const std::int64_t step = checkpoint.state.step;
  const fs::path folder = checkpoints_of(run_folder);
  const fs::path target = folder / step_name(step);
  create_folders(folder);
  sync_path(run_folder);
  remove_checkpoint_leftovers(run_folder);
  if (!verifies(target)) {
    const fs::path temporary = folder / (std::string(kTemporaryPrefix) + step_name(step));
    create_folders(temporary);
    write_folder(temporary, checkpoint);
    fail_point("save:before-rename");
    if (fs::exists(target)) retire(target);
    rename_durable(temporary, target);
    fail_point("save:renamed");
  }
  fail_point("save:before-retention");
  retain(run_folder, step, keep);
  fail_point("save:retention-done");
}

std::vector<std::int64_t> list_checkpoints(const fs::path& run_folder) {
  std::vector<std::int64_t> steps;
  const fs::path folder = checkpoints_of(run_folder);
  std::error_code ignored;
  if (!fs::exists(folder, ignored)) return steps;
  for (const fs::path& path : entries_of(folder)) {
    const auto step = step_of(path.filename().string());
    if (step && fs::is_directory(path, ignored)) steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

std::optional<fs::path> find_newest_checkpoint(const fs::path& run_folder) {
  const std::vector<std::int64_t> steps = list_checkpoints(run_folder);
  for (const std::int64_t step : steps) {
    try {
      verify_checkpoint(checkpoints_of(run_folder) / step_name(step));
      return checkpoints_of(run_folder) / step_name(step);
    } catch (const Error& error) {
      spdlog::warn("passed over the checkpoint of step {}: {}", step, error.what());
    }
  }
  if (steps.empty()) return std::nullopt;
  throw_bad_input(fmt::format("none of its {} checkpoints verifies", steps.size()), checkpoints_of(run_folder).string(),
                  "start a new run.dir, or restore the folder from a copy");
}

std::optional<Checkpoint> load_newest_checkpoint(const fs::path& run_folder) {
  const std::optional<fs::path> found = find_newest_checkpoint(run_folder);
  return found ? std::optional(load_checkpoint(*found, /*verified_before=*/true)) : std::nullopt;
}

void verify_checkpoint(const fs::path& folder) {
  const json manifest = read_manifest(folder);
  const json found = describe_files(folder);
  for (const std::string name : kFiles) {
    if (found[name] == manifest["files"][name]) continue;
    throw_bad_input(
        fmt::format("does not verify: found {}, wanted {}", found[name].dump(), manifest["files"][name].dump()),
        (folder / name).string());
  }
  read_state(folder);
}

Checkpoint load_checkpoint(const fs::path& step_folder, bool verified_before) {
  if (!verified_before) verify_checkpoint(step_folder);
  Checkpoint out;
  out.folder = step_folder;
  out.config = read_json(step_folder / kConfig);
  out.state = read_state(step_folder);
  SafetensorsFile model = read_safetensors(step_folder / kModel);
  out.model = std::move(model.tensors);
  out.model_metadata = std::move(model.metadata);
  out.optimizer = read_safetensors(step_folder / kOptimizer).tensors;
  return out;
}

}  // namespace saber
