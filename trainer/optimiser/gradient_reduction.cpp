#include "trainer/optimiser/gradient_reduction.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

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

GradientReduction::GradientReduction(torch::nn::Module& model, FlatParameters& parameters, c10d::ProcessGroup& group,
                                     std::int64_t bucket_bytes)
    : group_(group) {
  at::Tensor& buffer = parameters.gradients_and_loss();
  const std::int64_t most = std::max<std::int64_t>(1, bucket_bytes / buffer.element_size());
  std::vector<torch::Tensor> all = model.parameters();
  std::int64_t end = buffer.numel(), begin = buffer.numel() - 1;  // the loss is part of the first bucket
  const auto close = [&] {
    buckets_.back().slice = buffer.narrow(0, begin, end - begin);
    end = begin;
  };
  buckets_.emplace_back();
  for (auto p = all.rbegin(); p != all.rend(); ++p) {
    if (end - begin + p->numel() > most && buckets_.back().size > 0) {
      close();
      buckets_.emplace_back();
    }
    begin -= p->numel();
    ++buckets_.back().size;
    const std::size_t bucket = buckets_.size() - 1;
    std::shared_ptr<torch::autograd::Node> node = torch::autograd::impl::grad_accumulator(*p);
    const std::uintptr_t hook = node->add_post_hook(std::make_unique<AfterAccumulation>([this, bucket] {
      if (active_) arrived(bucket);
    }));
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
  next_ = 0;
  active_ = true;
}

void GradientReduction::arrived(std::size_t bucket) {
  --buckets_[bucket].missing;
  send_ready(/*all=*/false);
}

// In the order of the buckets, whatever the order of the gradients: all ranks must send alike.
void GradientReduction::send_ready(bool all) {
  for (; next_ < buckets_.size() && (all || buckets_[next_].missing == 0); ++next_)
    buckets_[next_].work = start_all_reduce_sum(group_, buckets_[next_].slice);
}

void GradientReduction::finish() {
  active_ = false;
  num_overlapped_ = static_cast<std::int64_t>(next_);
  send_ready(/*all=*/true);
  for (Bucket& bucket : buckets_) {
    bucket.work->wait();
    bucket.work.reset();
  }
}

}  // namespace saber
