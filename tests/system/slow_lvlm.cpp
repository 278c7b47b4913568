// The program with one LVLM more: `lvlm.kind: slow` has 32 slots and takes 20 ms for a sequence, as a server would. At
// the end it prints how many slots were busy, on average, while requests were under way.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <thread>

#include "launch/program.h"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
constexpr auto kLatency = 20ms;

class SlowScorer : public saber::Scorer {
 public:
  ~SlowScorer() override {
    if (busy_ > 0s) fmt::print(stderr, "slow LVLM: {:.1f} slots busy\n", work_ / std::chrono::duration<double>(busy_));
  }
  std::int64_t slots() const override { return static_cast<std::int64_t>(free_at_.size()); }
  void submit(saber::ScoreRequest request) override {
    const Clock::time_point now = Clock::now();
    if (under_way_.empty()) busy_since_ = now;
    Clock::time_point end = now;
    for (std::size_t i = 0; i < request.sequences.size(); ++i) {  // each takes the slot that is free first
      Clock::time_point& slot = *std::min_element(free_at_.begin(), free_at_.end());
      slot = std::max(slot, now) + kLatency;
      end = std::max(end, slot);
    }
    under_way_.emplace(end, std::move(request));
  }
  saber::ScoreReply wait() override {
    const auto next = under_way_.extract(under_way_.begin());
    std::this_thread::sleep_until(next.key());
    saber::ScoreReply reply{next.mapped().tag, {}, {}};
    for (const saber::DemonstrationSequence& sequence : next.mapped().sequences) {
      std::int64_t sum = sequence.query;
      for (const std::int64_t row : sequence.shots) sum = 31 * sum + row;
      reply.scores.emplace_back(saber::Score{-1 - static_cast<double>(sum % 997) / 997, {}});
      work_ += kLatency;
    }
    if (under_way_.empty()) busy_ += Clock::now() - busy_since_;
    return reply;
  }
  std::string identity() const override { return "slow"; }
  std::string prompt_template() const override { return "none"; }

 private:
  std::array<Clock::time_point, 32> free_at_{};
  std::multimap<Clock::time_point, saber::ScoreRequest> under_way_;  // by the time at which they are finished
  Clock::time_point busy_since_;
  Clock::duration busy_{};
  std::chrono::duration<double> work_{};
};

}  // namespace

int main(int argc, char** argv) {
  saber::ScorerKinds kinds = saber::built_in_scorers();
  kinds["slow"] = [](const auto&, const auto&, const auto&) { return std::make_unique<SlowScorer>(); };
  return saber::run_program(argc, argv, kinds);
}
