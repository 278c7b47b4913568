#include "launch/checkpoint_saver.h"

#include "launch/build_info.h"
#include "trainer/checkpoint/checkpoint.h"

namespace saber {

CheckpointSaver::CheckpointSaver(const MpiSession& session, const Settings& settings, Trainer& trainer,
                                 const EmbeddingSet& set)
    : session_(session), settings_(settings), trainer_(trainer) {
  state_.data_fingerprint = set.fingerprint;
  state_.units_fingerprint = fingerprint_of(trainer.stages());
  state_.world_size = session.world_size();
  state_.build = build_description();
}

void CheckpointSaver::save(RunRecorder& recorder) {
  session_.on_root(
      [&]() -> std::string {
        recorder.sync();
        state_.step = trainer_.steps_done();
        Checkpoint checkpoint;
        checkpoint.state = state_;
        checkpoint.config = settings_.schema.values();
        checkpoint.model = trainer_.model_tensors();
        checkpoint.model_metadata = {{"format", "saber-model"}, {"version", "1"}};
        checkpoint.optimizer = trainer_.optimiser_tensors();
        save_checkpoint(settings_.run_folder, checkpoint, settings_.train.keep);
        return {};
      },
      "checkpoint save");
}

}  // namespace saber
