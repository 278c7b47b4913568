#include "trainer/reward/request_window.h"

#include <utility>

#include "core/error.h"
#include "core/narrow.h"

namespace saber {

bool RequestWindow::has_room() const {
  if (sizes_.empty()) return true;
  const std::int64_t slots = scorer_.slots();
  return slots > 1 && (sizes_.size() < 2 || under_way_ < 2 * slots);
}

void RequestWindow::submit(ScoreRequest request) {
  const bool is_new = sizes_.emplace(request.tag, size_of(request.sequences)).second;
  ensure(is_new, "tags of requests under way differ");
  under_way_ += size_of(request.sequences);
  scorer_.submit(std::move(request));
}

ScoreReply RequestWindow::wait() {
  ScoreReply reply = scorer_.wait();
  const auto found = sizes_.find(reply.tag);
  ensure(found != sizes_.end(), "a reply belongs to a request under way");
  ensure(size_of(reply.scores) <= found->second, "a scorer gives one result per sequence");
  if (!reply.unreachable) reply.scores.resize(to_index(found->second));  // what a short reply leaves out has failed
  under_way_ -= found->second;
  sizes_.erase(found);
  return reply;
}

}  // namespace saber
