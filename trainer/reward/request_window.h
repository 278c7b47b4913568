// Keeps an LVLM busy: so many requests under way that its slots always have work, and no more.
//
//   RequestWindow window(scorer);
//   while (more || !window.idle()) {
//     if (more && window.has_room()) window.submit(next());
//     else use(window.wait());
//   }
#pragma once

#include <cstdint>
#include <map>

#include "trainer/reward/scorer.h"

namespace saber {

class RequestWindow {
 public:
  // The scorer must outlive the window, and has no other requests meanwhile.
  explicit RequestWindow(Scorer& scorer) : scorer_(scorer) {}

  bool idle() const { return sizes_.empty(); }
  // With one slot one request at a time. Else two at least, so that the next fills the slots that the last sequences of
  // one leave, and until twice as many sequences as slots are under way.
  bool has_room() const;
  void submit(ScoreRequest request);
  // As Scorer::wait. Results that a reply leaves out at its end are there, as failed ones.
  ScoreReply wait();

 private:
  Scorer& scorer_;
  std::map<std::int64_t, std::int64_t> sizes_;  // sequences of the requests under way, by tag
  std::int64_t under_way_ = 0;
};

}  // namespace saber
