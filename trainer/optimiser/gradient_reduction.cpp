#include "trainer/optimiser/gradient_reduction.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <functional>

#include "core/error.h"

namespace saber {
namespace {

class AfterAccumulation : public torch::autograd::FunctionPostHook {
 public:
  explicit AfterAccumulation(std::function<void()> call) : call_(std::move(call)) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list& /*inputs*/) override {
    call_();
    return outputs;
  }

 private:
  std::function<void()> call_;
};

}  // namespace

GradientReduction::GradientReduction(FlatParameters& parameters, c10d::ProcessGroup& group, std::int64_t bucket_bytes)
    : parameters_(parameters), group_(group), bucket_of_(parameters.parameters().size()) {
  at::Tensor& buffer = parameters.gradients_and_loss();
  const std::int64_t most = std::max<std::int64_t>(1, bucket_bytes / buffer.element_size());
  const std::vector<torch::Tensor>& all = parameters.parameters();
  const std::int64_t size = parameters.num_parameters();
  std::int64_t end = size, begin = size;
  const auto close = [&] {
    buckets_.back().gradients = buffer.narrow(0, begin, end - begin);
    buckets_.back().slice =
        buffer.narrow(0, begin, end - begin + (end == size ? 1 : 0));  // the loss rides in the first
    end = begin;
  };
  buckets_.emplace_back();
  for (std::size_t i = all.size(); i-- > 0;) {
    if (end - begin + all[i].numel() > most && buckets_.back().size > 0) {
      close();
      buckets_.emplace_back();
    }
    begin -= all[i].numel();
    ++buckets_.back().size;
    bucket_of_[i] = buckets_.size() - 1;
    std::shared_ptr<torch::autograd::Node> node = torch::autograd::impl::grad_accumulator(all[i]);
    const std::uintptr_t hook = node->add_post_hook(std::make_unique<AfterAccumulation>([this, i] { arrived(i); }));
    hooks_.emplace_back(std::move(node), hook);
  }
  close();
  ensure(end == 0, "the buckets cover the gradients");
}

GradientReduction::~GradientReduction() {
  for (const auto& [node, hook] : hooks_) node->del_post_hook(hook);
}

void GradientReduction::begin() {
  for (Bucket& bucket : buckets_) bucket.missing = bucket.size;
  next_ = oldest_ = 0;
  active_ = true;
}

void GradientReduction::arrived(std::size_t parameter) {
  parameters_.settle_gradient(parameter);
  if (!active_) return;
  --buckets_[bucket_of_[parameter]].missing;
  send_ready(/*all=*/false);
  // To ask is what lets messages go on.
  while (oldest_ < next_ && buckets_[oldest_].work->isCompleted()) ++oldest_;
}

// In the order of the buckets, whatever the order of the gradients: all ranks must send alike.
void GradientReduction::send_ready(bool all) {
  for (; next_ < buckets_.size() && (all || buckets_[next_].missing == 0); ++next_)
    buckets_[next_].work = start_all_reduce_sum(group_, buckets_[next_].slice);
}

double GradientReduction::finish() {
  active_ = false;
  num_overlapped_ = static_cast<std::int64_t>(next_);
  for (std::size_t i = 0; i < bucket_of_.size(); ++i) parameters_.settle_gradient(i);
  send_ready(/*all=*/true);
  double squares = 0;
  for (Bucket& bucket : buckets_) {
    bucket.work->wait();
    bucket.work.reset();
    const double norm = bucket.gradients.norm().item<double>();
    squares += norm * norm;
  }
  return squares;
}

}  // namespace saber
