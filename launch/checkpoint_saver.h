// Saves a run's checkpoints.
#pragma once

#include "comm/mpi_session.h"
#include "data/embedding_set.h"
#include "launch/run_recorder.h"
#include "launch/settings.h"
#include "trainer/trainer.h"

namespace saber {

class CheckpointSaver {
 public:
  // References must outlive the saver.
  CheckpointSaver(const MpiSession& session, const Settings& settings, Trainer& trainer, const EmbeddingSet& set);

  // Writes a checkpoint of the trainer as it is now, after the lines of `recorder` that belong to it are on the disk.
  // Collective: all ranks fail together.
  void save(RunRecorder& recorder);

 private:
  const MpiSession& session_;
  const Settings& settings_;
  Trainer& trainer_;
  TrainState state_;
};

}  // namespace saber
