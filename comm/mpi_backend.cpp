#include "comm/mpi_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "comm/agreed_error.h"
#include "comm/mpi_reductions.h"
#include "core/log.h"
#include "core/narrow.h"

namespace saber {
namespace {

using Tensors = std::vector<at::Tensor>;
using WorkPtr = c10::intrusive_ptr<c10d::Work>;
using Op = ReduceKind;

constexpr std::int64_t kMostElements = (std::int64_t{1} << 31) - 1;

class CompletedWork : public c10d::Work {
 public:
  CompletedWork(int rank, c10d::OpType type, Tensors tensors)
      : Work(rank, type),
        tensors_(std::move(tensors)),
        future_(c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()))) {
    future_->markCompleted(c10::IValue(tensors_));
    finish();
  }
  Tensors result() override { return tensors_; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }

 private:
  Tensors tensors_;
  c10::intrusive_ptr<c10::ivalue::Future> future_;
};

// An exchange that goes on while this rank computes.
class PendingWork : public c10d::Work {
 public:
  // tensors: input and output, which live as long as the exchange.
  PendingWork(int rank, Tensors tensors, std::shared_ptr<MpiReductions> reductions, std::int64_t ticket,
              Operations& operations, const Operation& operation)
      : Work(rank, c10d::OpType::UNKNOWN),
        tensors_(std::move(tensors)),
        reductions_(std::move(reductions)),
        ticket_(ticket),
        operations_(operations),
        operation_(operation) {}

  bool isCompleted() override {
    reductions_->progress();
    return reductions_->finished(ticket_);
  }
  bool isSuccess() const override { return reductions_->finished(ticket_); }
  bool wait(std::chrono::milliseconds) override {
    const Operations::Wait wait(operations_, operation_);
    reductions_->finish(ticket_);
    return true;
  }
  Tensors result() override { return {tensors_.back()}; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override {
    wait(kNoTimeout);
    auto future = c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()));
    future->markCompleted(c10::IValue(result()));
    return future;
  }

 private:
  Tensors tensors_;
  std::shared_ptr<MpiReductions> reductions_;
  std::int64_t ticket_;
  Operations& operations_;
  Operation operation_;
};

void check_tensor(const at::Tensor& tensor, const std::string& operation) {
  if (!tensor.defined()) refuse(operation, "the tensor is undefined");
  if (!tensor.device().is_cpu()) refuse(operation, "tensor on " + tensor.device().str() + ", wanted one on the CPU");
  if (!tensor.is_contiguous()) refuse(operation, "the tensor is not contiguous");
}

void check_like(const at::Tensor& tensor, const at::Tensor& example, std::int64_t elements,
                const std::string& operation) {
  check_tensor(tensor, operation);
  if (tensor.scalar_type() != example.scalar_type() || tensor.numel() != elements) {
    refuse(operation, fmt::format("a tensor of {} {}, wanted {} {}", tensor.numel(),
                                  c10::toString(tensor.scalar_type()), elements, c10::toString(example.scalar_type())));
  }
}

void check_reduction(const at::Tensor& tensor, Op op, const std::string& operation) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
    case at::kFloat:
    case at::kLong:
    case at::kInt:
    case at::kByte:
      break;
    default:
      refuse(operation, fmt::format("cannot reduce {}", c10::toString(tensor.scalar_type())),
             "convert to float32, which also keeps the bits that a sum of 16-bit numbers would lose");
  }
  if (op != Op::SUM && op != Op::MAX && op != Op::MIN) refuse(operation, "only sum, max and min are offered");
}

const at::Tensor& only(const Tensors& tensors, const std::string& operation) {
  if (tensors.size() != 1) refuse(operation, fmt::format("{} tensors, wanted one", tensors.size()));
  return tensors.front();
}

// Which elements of a chunk go to which rank; counts and starts as MPI wants them.
struct Split {
  std::vector<int> counts, starts;

  explicit Split(std::vector<int> piece_sizes) : counts(std::move(piece_sizes)), starts(counts.size()) {
    std::exclusive_scan(counts.begin(), counts.end(), starts.begin(), 0);
  }
};

class OwnMpiBackend : public MpiBackend {
 public:
  OwnMpiBackend(const MpiSession& session, std::int64_t chunk_elements)
      : MpiBackend(session.rank(), session.world_size()),
        session_(session),
        operations_(session.operations()),
        chunk_(chunk_elements),
        reductions_(std::make_shared<MpiReductions>(rank_, size_, chunk_elements)) {
    ensure(chunk_ >= 1 && chunk_ <= std::int64_t{1} << 28, "chunk_elements is from 1 to 2^28");
  }

  const std::string getBackendName() const override { return "saber-mpi"; }

  WorkPtr broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override;
  WorkPtr allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override;
  WorkPtr _allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions& options) override;
  WorkPtr _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                               const c10d::ReduceScatterOptions& options) override;
  WorkPtr alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<std::int64_t>& output_rows,
                        std::vector<std::int64_t>& input_rows, const c10d::AllToAllOptions& options) override;
  WorkPtr barrier(const c10d::BarrierOptions& options) override;
  void all_gather_words(const std::byte* mine, std::byte* all, std::int64_t words) override;
  at::Tensor shared_zeros(std::int64_t elements, at::ScalarType type) override;

 private:
  Operation begin(const char* kind, const at::Tensor& tensor) {
    return operations_.begin(kind, tensor.numel() * tensor.element_size(), c10::toString(tensor.scalar_type()));
  }
  WorkPtr done(c10d::OpType type, Tensors tensors) const {
    return c10::make_intrusive<CompletedWork>(rank_, type, std::move(tensors));
  }
  // An exchange that goes on until its Work is waited for.
  WorkPtr start(const Operation& operation, Exchange exchange, const at::Tensor& values, Op op,
                const at::Tensor& result = {}) {
    const std::int64_t ticket = reductions_->start(exchange, values, op, result);
    Tensors held{values, result.defined() ? result : values};
    return c10::make_intrusive<PendingWork>(rank_, std::move(held), reductions_, ticket, operations_, operation);
  }

  const MpiSession& session_;
  Operations& operations_;
  Communicator communicator_;
  std::int64_t chunk_;
  std::shared_ptr<MpiReductions> reductions_;
};

WorkPtr OwnMpiBackend::broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) {
  const at::Tensor& tensor = only(tensors, "broadcast");
  check_tensor(tensor, "broadcast");
  const MPI_Datatype carrier = carrier_of(tensor, "broadcast");
  const Operations::Wait wait(operations_, begin("broadcast", tensor));
  const int root = narrow<int>(options.rootRank);
  for (std::int64_t start = 0; start < tensor.numel(); start += chunk_) {
    const int count = narrow<int>(std::min(chunk_, tensor.numel() - start));
    std::byte* const data = bytes_of(tensor) + start * tensor.element_size();
    SABER_MPI(MPI_Bcast(data, count, carrier, root, communicator_.get()));
  }
  return done(c10d::OpType::BROADCAST, tensors);
}

WorkPtr OwnMpiBackend::allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) {
  const at::Tensor& tensor = only(tensors, "allreduce");
  check_tensor(tensor, "allreduce");
  check_reduction(tensor, options.reduceOp, "allreduce");
  return start(begin("all-reduce", tensor), Exchange::all_reduce, tensor, options.reduceOp);
}

WorkPtr OwnMpiBackend::_allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions&) {
  check_tensor(input, "allgather");
  check_like(output, input, input.numel() * size_, "allgather");
  const at::Tensor own = output.view({-1}).narrow(0, rank_ * input.numel(), input.numel());
  if (own.data_ptr() != input.data_ptr()) own.copy_(input.view({-1}));
  return start(begin("all-gather", input), Exchange::all_gather, output, Op::SUM);
}

WorkPtr OwnMpiBackend::_reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                                            const c10d::ReduceScatterOptions& options) {
  check_tensor(output, "reduce_scatter");
  check_like(input, output, output.numel() * size_, "reduce_scatter");
  check_reduction(output, options.reduceOp, "reduce_scatter");
  return start(begin("reduce-scatter", output), Exchange::reduce_scatter, input, options.reduceOp, output);
}

// Rows of dimension 0: input_rows[r] of them go to rank r, output_rows[r] come from it; both in rank order.
WorkPtr OwnMpiBackend::alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<std::int64_t>& output_rows,
                                     std::vector<std::int64_t>& input_rows, const c10d::AllToAllOptions&) {
  check_tensor(input, "alltoall");
  const auto split_of = [&](const at::Tensor& tensor, const std::vector<std::int64_t>& rows) {
    if (size_of(rows) != size_ || tensor.dim() == 0) refuse("alltoall", "wanted a number of rows for each rank");
    std::int64_t total = 0, width = 1;
    for (const std::int64_t size : tensor.sizes().slice(1)) width *= size;
    std::vector<int> counts;
    for (const std::int64_t count : rows) {
      counts.push_back(narrow<int>(count * width));
      total += count;
    }
    if (total != tensor.size(0)) refuse("alltoall", "the rows of the ranks do not add up to the tensor's");
    if (tensor.numel() > kMostElements) refuse("alltoall", "more than 2^31 elements at once");
    return Split(std::move(counts));
  };
  const Split out = split_of(output, output_rows), in = split_of(input, input_rows);
  check_like(output, input, output.numel(), "alltoall");
  const MPI_Datatype carrier = carrier_of(input, "alltoall");
  const Operations::Wait wait(operations_, operations_.begin("all-to-all", 0, c10::toString(input.scalar_type())));
  SABER_MPI(MPI_Alltoallv(bytes_of(input), in.counts.data(), in.starts.data(), carrier, bytes_of(output),
                          out.counts.data(), out.starts.data(), carrier, communicator_.get()));
  return done(c10d::OpType::ALLTOALL_BASE, {output});
}

WorkPtr OwnMpiBackend::barrier(const c10d::BarrierOptions&) {
  const Operations::Wait wait(operations_, operations_.begin("barrier"));
  SABER_MPI(MPI_Barrier(communicator_.get()));
  return done(c10d::OpType::BARRIER, {});
}

void OwnMpiBackend::all_gather_words(const std::byte* mine, std::byte* all, std::int64_t words) {
  const Operations::Wait wait(operations_, operations_.begin("all-gather", words * 8, "Word"));
  const int count = narrow<int>(words);
  SABER_MPI(MPI_Allgather(mine, count, MPI_UINT64_T, all, count, MPI_UINT64_T, communicator_.get()));
}

at::Tensor OwnMpiBackend::shared_zeros(std::int64_t elements, at::ScalarType type) {
  const bool together = size_ > 1 && session_.num_local_ranks() == size_ && elements > 0;
  if (!together) return at::zeros({elements}, type);
  try {
    const auto bytes = elements * static_cast<std::int64_t>(c10::elementSize(type));
    const auto memory = std::make_shared<HostMemory>(session_, bytes);
    reductions_->use(memory);
    return at::from_blob(
        memory->block(narrow<int>(rank_)), {elements}, [memory](void*) {}, type);
  } catch (const AgreedError& error) {
    if (session_.is_root())
      spdlog::warn("sums go in messages, which takes longer, since the ranks can share no memory: {}", error.what());
    return at::zeros({elements}, type);
  }
}

}  // namespace

c10::intrusive_ptr<MpiBackend> make_mpi_backend(const MpiSession& session, std::int64_t chunk_elements) {
  return c10::make_intrusive<OwnMpiBackend>(session, chunk_elements);
}

}  // namespace saber
