#include "comm/mpi_reductions.h"

#include <algorithm>
#include <utility>

#include "core/narrow.h"

namespace saber {
namespace {

constexpr std::size_t kMaxActive = 4;                         // chunks, bounds the scratch memory
constexpr std::int64_t kWholeBytes = std::int64_t{64} << 10;  // up to here each rank sends everything to every rank
constexpr int kExchangeTag = 1, kGatherTag = 2;

}  // namespace

void combine(at::Tensor& total, const at::Tensor& piece, ReduceKind kind) {
  if (kind == ReduceKind::SUM) total.add_(piece);
  if (kind == ReduceKind::MAX) at::maximum_out(total, total, piece);
  if (kind == ReduceKind::MIN) at::minimum_out(total, total, piece);
}

// Every rank sends each other rank that one's share of the values, combines what arrives for its own share, and sends
// the result to all. Few values are sent whole instead, which saves the second round.
struct MpiReductions::Chunk {
  Chunk(at::Tensor flat, ReduceKind reduce_kind, std::int64_t finishes)
      : values(std::move(flat)), kind(reduce_kind), ticket(finishes) {}

  at::Tensor values;  // 1-D
  ReduceKind kind;
  std::int64_t ticket;  // of the reduction that this chunk finishes; 0: more chunks follow
  bool whole = false;
  std::int64_t share = 0;  // elements of a rank; the last ranks may have fewer
  Stage stage = Stage::exchange;
  bool reduced = false;
  std::vector<std::byte> pieces;  // own share of the other ranks
  std::vector<MPI_Request> requests;

  at::Tensor share_of(int rank) const {
    if (whole) return values;
    const std::int64_t begin = std::min(values.numel(), rank * share);
    return values.narrow(0, begin, std::min(share, values.numel() - begin));
  }
};

MpiReductions::MpiReductions(int rank, int world_size, std::int64_t chunk_elements)
    : rank_(rank), size_(world_size), chunk_elements_(chunk_elements) {}

MpiReductions::~MpiReductions() {
  if (active_.empty()) return;
  // An error ends this rank in the middle of a step: MPI may still write into these buffers.
  static_cast<void>(new std::deque(std::move(active_)));
}

std::int64_t MpiReductions::start(const at::Tensor& tensor, ReduceKind kind) {
  const std::int64_t ticket = ++last_started_;
  const at::Tensor flat = tensor.view({-1});
  if (size_ == 1 || flat.numel() == 0) {
    waiting_.push_back(std::make_unique<Chunk>(flat.narrow(0, 0, 0), kind, ticket));
  } else {
    for (std::int64_t begin = 0; begin < flat.numel(); begin += chunk_elements_) {
      const std::int64_t count = std::min(chunk_elements_, flat.numel() - begin);
      const bool last = begin + count == flat.numel();
      waiting_.push_back(std::make_unique<Chunk>(flat.narrow(0, begin, count), kind, last ? ticket : 0));
    }
  }
  progress();
  return ticket;
}

void MpiReductions::finish(std::int64_t ticket) {
  while (!finished(ticket)) progress();
}

void MpiReductions::progress() {
  while (!waiting_.empty() && active_.size() < kMaxActive) {
    active_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    open(*active_.back());
  }
  bool may_gather = true;  // in order, since messages are told apart by their order alone
  for (const std::unique_ptr<Chunk>& chunk : active_) {
    advance(*chunk, may_gather);
    may_gather = may_gather && chunk->stage == Stage::gather;
  }
  while (!active_.empty() && active_.front()->stage == Stage::gather && active_.front()->requests.empty()) {
    Chunk& chunk = *active_.front();
    if (chunk.ticket != 0) last_finished_ = chunk.ticket;
    if (!chunk.pieces.empty()) spare_.push_back(std::move(chunk.pieces));
    active_.pop_front();
  }
}

void MpiReductions::advance(Chunk& chunk, bool may_gather) {
  if (!chunk.requests.empty()) {
    int done = 0;
    SABER_MPI(MPI_Testall(narrow<int>(size_of(chunk.requests)), chunk.requests.data(), &done, MPI_STATUSES_IGNORE));
    if (done == 0) return;
    chunk.requests.clear();
  }
  if (chunk.stage == Stage::gather) return;
  if (!chunk.reduced) reduce(chunk);
  if (!may_gather) return;
  chunk.stage = Stage::gather;
  if (!chunk.whole) open_gather(chunk);
}

at::Tensor MpiReductions::piece(Chunk& chunk, int rank, std::int64_t elements) {
  const std::int64_t place = rank < rank_ ? rank : rank - 1;
  return at::from_blob(chunk.pieces.data() + place * elements * chunk.values.element_size(), {elements},
                       chunk.values.options());
}

void MpiReductions::open(Chunk& chunk) {
  if (chunk.values.numel() == 0) {
    chunk.whole = chunk.reduced = true;
    return;
  }
  const std::int64_t width = chunk.values.element_size();
  chunk.whole = chunk.values.numel() * width * size_ <= kWholeBytes;
  chunk.share = ceil_div(chunk.values.numel(), std::int64_t{size_});
  if (!spare_.empty()) {
    chunk.pieces = std::move(spare_.back());
    spare_.pop_back();
  }
  const at::Tensor mine = chunk.share_of(rank_);
  const std::int64_t needed = mine.numel() * width * (size_ - 1);
  if (size_of(chunk.pieces) < needed) chunk.pieces.resize(index_of(needed));
  const MPI_Datatype carrier = carrier_of(chunk.values, "all-reduce");
  for (int step = 1; step < size_; ++step) {  // each rank begins with its neighbour, so that none is asked by all
    const int to = (rank_ + step) % size_, from = (rank_ - step + size_) % size_;
    const at::Tensor theirs = chunk.share_of(to);
    SABER_MPI(MPI_Irecv(bytes_of(piece(chunk, from, mine.numel())), narrow<int>(mine.numel()), carrier, from,
                        kExchangeTag, communicator_.get(), &chunk.requests.emplace_back()));
    SABER_MPI(MPI_Isend(bytes_of(theirs), narrow<int>(theirs.numel()), carrier, to, kExchangeTag, communicator_.get(),
                        &chunk.requests.emplace_back()));
  }
}

// ((value of rank 0 + value of rank 1) + ...), where a sum of two may be taken in either order.
void MpiReductions::reduce(Chunk& chunk) {
  chunk.reduced = true;
  at::Tensor mine = chunk.share_of(rank_);
  const std::int64_t elements = mine.numel();
  if (rank_ > 0) {
    at::Tensor before = piece(chunk, 0, elements);
    for (int r = 1; r < rank_; ++r) combine(before, piece(chunk, r, elements), chunk.kind);
    combine(mine, before, chunk.kind);
  }
  for (int r = rank_ + 1; r < size_; ++r) combine(mine, piece(chunk, r, elements), chunk.kind);
}

void MpiReductions::open_gather(Chunk& chunk) {
  const MPI_Datatype carrier = carrier_of(chunk.values, "all-reduce");
  const at::Tensor mine = chunk.share_of(rank_);
  for (int step = 1; step < size_; ++step) {
    const int to = (rank_ + step) % size_, from = (rank_ - step + size_) % size_;
    const at::Tensor theirs = chunk.share_of(from);
    SABER_MPI(MPI_Irecv(bytes_of(theirs), narrow<int>(theirs.numel()), carrier, from, kGatherTag, communicator_.get(),
                        &chunk.requests.emplace_back()));
    SABER_MPI(MPI_Isend(bytes_of(mine), narrow<int>(mine.numel()), carrier, to, kGatherTag, communicator_.get(),
                        &chunk.requests.emplace_back()));
  }
}

}  // namespace saber
