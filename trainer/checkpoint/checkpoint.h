// Checkpoint folders: <run>/checkpoints/step-00001200/ with model.safetensors, optimizer-00000-of-00001.safetensors,
// state.json, config.json and, written last, manifest.json (sizes and checksums of the others). The folder is written
// under a temporary name and renamed when complete. A folder whose manifest does not verify does not exist for the
// reader.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "trainer/formats/safetensors.h"

namespace saber {

// What continues a run, beside its tensors.
struct TrainState {
  std::int64_t step = 0;          // optimiser steps done
  std::string data_fingerprint;   // of the embedding set
  std::string units_fingerprint;  // of the training units that the plan shuffles
  std::int64_t world_size = 1;    // ranks that wrote it
  std::string build;              // compiler, LibTorch and SabER versions
};

struct Checkpoint {
  std::filesystem::path folder;
  TrainState state;
  nlohmann::json config;  // settings of the run, Schema::values()
  NamedTensors model;
  std::map<std::string, std::string> model_metadata;
  NamedTensors optimizer;  // empty when read for selection only
};

// Rank 0 only. Everything is on the disk (fsync of files and folders) when it returns. A temporary folder that an
// earlier kill left is removed first. Afterwards older checkpoints than the newest `keep` that verify are renamed away,
// then removed; those of later steps and incomplete ones stay. If the step's folder exists already and verifies,
// nothing is written.
void save_checkpoint(const std::filesystem::path& run_folder, const Checkpoint& checkpoint, std::int64_t keep);

// Rank 0 only. Removes what a killed save left under a temporary name, or half removed.
void remove_checkpoint_leftovers(const std::filesystem::path& run_folder);

// Steps of all checkpoint folders by name, descending. Ordering is by step, never by time.
std::vector<std::int64_t> list_checkpoints(const std::filesystem::path& run_folder);

// The folder of the newest checkpoint that verifies, with a warning for each one passed over; nothing when there is
// none. Throws bad_input when checkpoints exist but none verifies.
std::optional<std::filesystem::path> find_newest_checkpoint(const std::filesystem::path& run_folder);
// The same, read: every size and checksum is compared before a tensor is used.
std::optional<Checkpoint> load_newest_checkpoint(const std::filesystem::path& run_folder);

// Compares every size and checksum of one folder. Throws bad_input with the file that does not verify.
void verify_checkpoint(const std::filesystem::path& step_folder);

// One folder, verified first. verified_before: a rank of this host has just done that, so its checksums are not
// computed again.
Checkpoint load_checkpoint(const std::filesystem::path& step_folder, bool verified_before = false);

}  // namespace saber
