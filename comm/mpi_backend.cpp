#include "comm/mpi_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "comm/mpi_reductions.h"
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

// A reduction that goes on while this rank computes.
class PendingWork : public c10d::Work {
 public:
  PendingWork(int rank, at::Tensor tensor, std::shared_ptr<MpiReductions> reductions, std::int64_t ticket,
              Operations& operations, const Operation& operation)
      : Work(rank, c10d::OpType::ALLREDUCE),
        tensors_{std::move(tensor)},
        reductions_(std::move(reductions)),
        ticket_(ticket),
        operations_(operations),
        operation_(operation) {}

  bool isCompleted() override { return reductions_->finished(ticket_); }
  bool isSuccess() const override { return reductions_->finished(ticket_); }
  bool wait(std::chrono::milliseconds) override {
    const Operations::Wait wait(operations_, operation_);
    reductions_->finish(ticket_);
    return true;
  }
  Tensors result() override { return tensors_; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override {
    wait(kNoTimeout);
    auto future = c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()));
    future->markCompleted(c10::IValue(tensors_));
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

class MpiBackend : public c10d::Backend {
 public:
  MpiBackend(const MpiSession& session, std::int64_t chunk_elements)
      : Backend(session.rank(), session.world_size()),
        operations_(session.operations()),
        chunk_(chunk_elements),
        reductions_(std::make_shared<MpiReductions>(rank_, size_, chunk_elements)) {
    ensure(chunk_ >= 1 && chunk_ <= std::int64_t{1} << 28, "chunk_elements is from 1 to 2^28");
  }

  const std::string getBackendName() const override { return "saber-mpi"; }

  WorkPtr broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override;
  WorkPtr allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override;
  WorkPtr allgather(std::vector<Tensors>& outputs, Tensors& inputs, const c10d::AllgatherOptions& options) override;
  WorkPtr _allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions& options) override;
  WorkPtr reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                         const c10d::ReduceScatterOptions& options) override;
  WorkPtr _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                               const c10d::ReduceScatterOptions& options) override;
  WorkPtr alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<std::int64_t>& output_rows,
                        std::vector<std::int64_t>& input_rows, const c10d::AllToAllOptions& options) override;
  WorkPtr barrier(const c10d::BarrierOptions& options) override;

 private:
  Operation begin(const char* kind, const at::Tensor& tensor) {
    return operations_.begin(kind, tensor.numel() * tensor.element_size(), c10::toString(tensor.scalar_type()));
  }
  WorkPtr done(c10d::OpType type, Tensors tensors) const {
    return c10::make_intrusive<CompletedWork>(rank_, type, std::move(tensors));
  }
  // Elements of each rank in one call that moves at most chunk_ in all.
  std::int64_t chunk_per_rank() const { return std::max<std::int64_t>(1, chunk_ / size_); }
  std::byte* scratch(std::size_t slot, std::int64_t bytes);
  void gather_into(const std::vector<std::byte*>& outputs, const at::Tensor& input, const std::string& operation);
  at::Tensor reduce_own_piece(const std::byte* chunk, const Split& split, const at::Tensor& like, Op op);

  Operations& operations_;
  Communicator communicator_;
  std::int64_t chunk_;
  std::shared_ptr<MpiReductions> reductions_;
  std::vector<std::byte> scratch_[2];  // kept between calls: fresh pages cost more than the copies
};

std::byte* MpiBackend::scratch(std::size_t slot, std::int64_t bytes) {
  std::vector<std::byte>& memory = scratch_[slot];
  if (size_of(memory) < bytes) memory.resize(index_of(bytes));
  return memory.data();
}

WorkPtr MpiBackend::broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) {
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

// Sends each rank its piece of `chunk` and combines the pieces that arrive for this rank, in rank order. The result
// lives in scratch memory.
at::Tensor MpiBackend::reduce_own_piece(const std::byte* chunk, const Split& split, const at::Tensor& like, Op op) {
  const std::int64_t mine = split.counts[index_of(rank_)];
  const Split arriving(std::vector<int>(index_of(size_), narrow<int>(mine)));
  std::byte* const pieces = scratch(0, mine * size_ * like.element_size());
  const MPI_Datatype carrier = carrier_of(like, "reduction");
  SABER_MPI(MPI_Alltoallv(chunk, split.counts.data(), split.starts.data(), carrier, pieces, arriving.counts.data(),
                          arriving.starts.data(), carrier, communicator_.get()));
  const auto piece_of = [&](std::int64_t rank) {
    return at::from_blob(pieces + rank * mine * like.element_size(), {mine}, at::dtype(like.scalar_type()));
  };
  at::Tensor total = piece_of(0);
  for (std::int64_t r = 1; r < size_; ++r) combine(total, piece_of(r), op);
  return total;
}

WorkPtr MpiBackend::allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) {
  const at::Tensor& tensor = only(tensors, "allreduce");
  check_tensor(tensor, "allreduce");
  check_reduction(tensor, options.reduceOp, "allreduce");
  const Operation operation = begin("all-reduce", tensor);
  const std::int64_t ticket = reductions_->start(tensor, options.reduceOp);
  return c10::make_intrusive<PendingWork>(rank_, tensor, reductions_, ticket, operations_, operation);
}

// Rank r's `input` to outputs[r], through scratch memory since the outputs need not lie side by side.
void MpiBackend::gather_into(const std::vector<std::byte*>& outputs, const at::Tensor& input,
                             const std::string& operation) {
  const MPI_Datatype carrier = carrier_of(input, operation);
  const std::int64_t width = input.element_size();
  const Operations::Wait wait(operations_, begin("all-gather", input));
  for (std::int64_t start = 0; start < input.numel(); start += chunk_per_rank()) {
    const std::int64_t count = std::min(chunk_per_rank(), input.numel() - start);
    std::byte* const pieces = scratch(0, count * size_ * width);
    SABER_MPI(MPI_Allgather(bytes_of(input) + start * width, narrow<int>(count), carrier, pieces, narrow<int>(count),
                            carrier, communicator_.get()));
    for (std::int64_t r = 0; r < size_; ++r) {
      std::memcpy(outputs[index_of(r)] + start * width, pieces + r * count * width, index_of(count * width));
    }
  }
}

WorkPtr MpiBackend::allgather(std::vector<Tensors>& outputs, Tensors& inputs, const c10d::AllgatherOptions&) {
  const at::Tensor& input = only(inputs, "allgather");
  check_tensor(input, "allgather");
  if (outputs.size() != 1 || size_of(outputs.front()) != size_) refuse("allgather", "wanted one output per rank");
  std::vector<std::byte*> places;
  for (const at::Tensor& output : outputs.front()) {
    check_like(output, input, input.numel(), "allgather");
    places.push_back(bytes_of(output));
  }
  gather_into(places, input, "allgather");
  return done(c10d::OpType::ALLGATHER, outputs.front());
}

WorkPtr MpiBackend::_allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions&) {
  check_tensor(input, "allgather");
  check_like(output, input, input.numel() * size_, "allgather");
  std::vector<std::byte*> places;
  for (std::int64_t r = 0; r < size_; ++r)
    places.push_back(bytes_of(output) + r * input.numel() * input.element_size());
  gather_into(places, input, "allgather");
  return done(c10d::OpType::_ALLGATHER_BASE, {output});
}

WorkPtr MpiBackend::reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                                   const c10d::ReduceScatterOptions& options) {
  at::Tensor output = only(outputs, "reduce_scatter");
  if (inputs.size() != 1 || size_of(inputs.front()) != size_) refuse("reduce_scatter", "wanted one input per rank");
  Tensors flat;
  for (const at::Tensor& input : inputs.front()) {
    check_like(input, output, output.numel(), "reduce_scatter");
    flat.push_back(input.reshape({-1}));
  }
  at::Tensor joined = at::cat(flat);
  return _reduce_scatter_base(output, joined, options);
}

WorkPtr MpiBackend::_reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                                         const c10d::ReduceScatterOptions& options) {
  check_tensor(output, "reduce_scatter");
  check_like(input, output, output.numel() * size_, "reduce_scatter");
  check_reduction(output, options.reduceOp, "reduce_scatter");
  const Operations::Wait wait(operations_, begin("reduce-scatter", output));
  const std::int64_t width = output.element_size();
  for (std::int64_t start = 0; start < output.numel(); start += chunk_per_rank()) {
    const std::int64_t count = std::min(chunk_per_rank(), output.numel() - start);
    // Packed, so that MPI's int displacements never span the whole input.
    std::byte* const packed = scratch(1, count * size_ * width);
    for (std::int64_t r = 0; r < size_; ++r) {
      const std::byte* const piece = bytes_of(input) + (r * output.numel() + start) * width;
      std::memcpy(packed + r * count * width, piece, index_of(count * width));
    }
    const Split split(std::vector<int>(index_of(size_), narrow<int>(count)));
    const at::Tensor mine = reduce_own_piece(packed, split, output, options.reduceOp);
    std::memcpy(bytes_of(output) + start * width, mine.data_ptr(), index_of(count * width));
  }
  return done(c10d::OpType::_REDUCE_SCATTER_BASE, {output});
}

// Rows of dimension 0: input_rows[r] of them go to rank r, output_rows[r] come from it; both in rank order.
WorkPtr MpiBackend::alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<std::int64_t>& output_rows,
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

WorkPtr MpiBackend::barrier(const c10d::BarrierOptions&) {
  const Operations::Wait wait(operations_, operations_.begin("barrier"));
  SABER_MPI(MPI_Barrier(communicator_.get()));
  return done(c10d::OpType::BARRIER, {});
}

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_mpi_backend(const MpiSession& session, std::int64_t chunk_elements) {
  return c10::make_intrusive<MpiBackend>(session, chunk_elements);
}

}  // namespace saber
