#include "trainer/search/advance.h"

#include <cstdint>
#include <map>
#include <utility>

#include "core/error.h"
#include "trainer/reward/request_window.h"

namespace saber {

void advance_together(Scorer& scorer, const std::function<std::unique_ptr<SequenceSearch>()>& open,
                      const std::function<void(const QueryNodes&)>& finish) {
  RequestWindow window(scorer);
  std::map<std::int64_t, std::unique_ptr<SequenceSearch>> searches;  // by the tag of their requests
  std::int64_t next_tag = 0;
  bool more = true;
  while (more || !window.idle()) {
    if (more && window.has_room()) {
      std::unique_ptr<SequenceSearch> search = open();
      more = search != nullptr;
      if (!more) continue;
      window.submit({next_tag, search->wanted(), /*judge=*/false});
      searches[next_tag++] = std::move(search);
      continue;
    }
    const ScoreReply reply = window.wait();
    if (reply.unreachable) throw Error(*reply.unreachable);
    SequenceSearch& search = *searches.at(reply.tag);
    search.take(reply.scores);
    if (search.done()) {
      finish(search.nodes());
      searches.erase(reply.tag);
    } else {
      window.submit({reply.tag, search.wanted(), /*judge=*/false});
    }
  }
}

QueryNodes run_search(Scorer& scorer, SequenceSearch&& search) {
  while (!search.done()) search.take(scorer.score(search.wanted()));
  return search.nodes();
}

}  // namespace saber
