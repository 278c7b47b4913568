#include "comm/mpi_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "comm/mpi_check.h"
#include "core/narrow.h"

namespace saber {
namespace {

using Tensors = std::vector<at::Tensor>;
using WorkPtr = c10::intrusive_ptr<c10d::Work>;
using Op = c10d::ReduceOp::RedOpType;

[[noreturn]] void refuse(const std::string& operation, const std::string& reason, const std::string& hint = {}) {
  throw Error(ErrorKind::internal, reason, "mpi " + operation, hint);
}

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

class Communicator {
 public:
  Communicator() {
    SABER_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &handle_));
    SABER_MPI(MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN));
  }
  ~Communicator() {
    int finalized = 0;
    if (MPI_Finalized(&finalized) == MPI_SUCCESS && finalized == 0) MPI_Comm_free(&handle_);
  }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  MPI_Comm get() const { return handle_; }

 private:
  MPI_Comm handle_ = MPI_COMM_NULL;
};

// MPI only moves elements here, so that their size is all it has to know.
MPI_Datatype carrier_of(const at::Tensor& tensor, const std::string& operation) {
  switch (tensor.element_size()) {
    case 1:
      return MPI_UINT8_T;
    case 2:
      return MPI_UINT16_T;
    case 4:
      return MPI_UINT32_T;
    case 8:
      return MPI_UINT64_T;
    default:
      refuse(operation, fmt::format("cannot move elements of {} bytes", tensor.element_size()));
  }
}

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

void combine(at::Tensor& total, const at::Tensor& piece, Op op) {
  if (op == Op::SUM) total.add_(piece);
  if (op == Op::MAX) at::maximum_out(total, total, piece);
  if (op == Op::MIN) at::minimum_out(total, total, piece);
}

std::byte* bytes_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data_ptr());
}

// Which elements of a chunk go to which rank; counts and starts as MPI wants them.
struct Split {
  std::vector<int> counts, starts;

  explicit Split(std::vector<int> piece_sizes) : counts(std::move(piece_sizes)), starts(counts.size()) {
    std::exclusive_scan(counts.begin(), counts.end(), starts.begin(), 0);
  }
  static Split evenly(std::int64_t elements, int parts) {
    const std::int64_t share = ceil_div(elements, parts);
    std::vector<int> sizes;
    for (int r = 0; r < parts; ++r) {
      sizes.push_back(narrow<int>(std::clamp(elements - r * share, std::int64_t{0}, share)));
    }
    return Split(std::move(sizes));
  }
};

class MpiBackend : public c10d::Backend {
 public:
  MpiBackend(int rank, int size, std::int64_t chunk_elements) : Backend(rank, size), chunk_(chunk_elements) {
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
  WorkPtr barrier(const c10d::BarrierOptions& options) override;

 private:
  WorkPtr done(c10d::OpType type, Tensors tensors) const {
    return c10::make_intrusive<CompletedWork>(rank_, type, std::move(tensors));
  }
  // Elements of each rank in one call that moves at most chunk_ in all.
  std::int64_t chunk_per_rank() const { return std::max<std::int64_t>(1, chunk_ / size_); }
  std::byte* scratch(std::size_t slot, std::int64_t bytes);
  void gather_into(const std::vector<std::byte*>& outputs, const at::Tensor& input, const std::string& operation);
  at::Tensor reduce_own_piece(const std::byte* chunk, const Split& split, const at::Tensor& like, Op op);

  Communicator communicator_;
  std::int64_t chunk_;
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
  const MPI_Datatype carrier = carrier_of(tensor, "allreduce");
  for (std::int64_t start = 0; size_ > 1 && start < tensor.numel(); start += chunk_) {
    const Split split = Split::evenly(std::min(chunk_, tensor.numel() - start), size_);
    std::byte* const chunk = bytes_of(tensor) + start * tensor.element_size();
    const at::Tensor mine = reduce_own_piece(chunk, split, tensor, options.reduceOp);
    SABER_MPI(MPI_Allgatherv(mine.data_ptr(), narrow<int>(mine.numel()), carrier, chunk, split.counts.data(),
                             split.starts.data(), carrier, communicator_.get()));
  }
  return done(c10d::OpType::ALLREDUCE, tensors);
}

// Rank r's `input` to outputs[r], through scratch memory since the outputs need not lie side by side.
void MpiBackend::gather_into(const std::vector<std::byte*>& outputs, const at::Tensor& input,
                             const std::string& operation) {
  const MPI_Datatype carrier = carrier_of(input, operation);
  const std::int64_t width = input.element_size();
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

WorkPtr MpiBackend::barrier(const c10d::BarrierOptions&) {
  SABER_MPI(MPI_Barrier(communicator_.get()));
  return done(c10d::OpType::BARRIER, {});
}

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_mpi_backend(const MpiSession& session, std::int64_t chunk_elements) {
  return c10::make_intrusive<MpiBackend>(session.rank(), session.world_size(), chunk_elements);
}

}  // namespace saber
