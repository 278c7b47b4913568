#include "comm/mpi_reductions.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "core/narrow.h"

namespace saber {
namespace {

constexpr std::size_t kMaxActive = 4;                         // chunks, bounds the scratch memory
constexpr std::int64_t kWholeBytes = std::int64_t{64} << 10;  // up to here each rank sends everything to every rank
constexpr int kReduceTag = 1, kGatherTag = 2;
constexpr std::int64_t kBlockBytes = std::int64_t{128} << 10;  // of a sum in memory: results are copied from the cache

}  // namespace

void combine(at::Tensor& total, const at::Tensor& piece, ReduceKind kind) {
  if (kind == ReduceKind::SUM) total.add_(piece);
  if (kind == ReduceKind::MAX) at::maximum_out(total, total, piece);
  if (kind == ReduceKind::MIN) at::minimum_out(total, total, piece);
}

// A range of every share. Every rank sends each other rank that one's part of the values, combines what arrives for its
// own, and sends the result to all. Few values are sent whole instead, which saves the second round. In memory of the
// host one chunk is everything: each rank reads the others' values of its share and writes the sums to all.
struct MpiReductions::Chunk {
  Exchange exchange = Exchange::all_reduce;
  at::Tensor values, result;  // 1-D
  ReduceKind kind{};
  std::int64_t ticket = 0;           // of the exchange that this chunk finishes; 0: more chunks follow
  std::int64_t share = 0;            // elements of a rank's share
  std::int64_t first = 0, most = 0;  // the range: its first element, and how many
  bool whole = false;
  Stage stage = Stage::reduce;
  bool reduced = false;
  std::vector<std::byte> pieces;  // of the other ranks, for the own part
  std::vector<MPI_Request> requests;
  std::shared_ptr<HostMemory> memory;  // where the values lie; null: they travel
  std::int64_t turn = 0;               // of the memory

  struct Part {
    std::int64_t begin = 0, size = 0;
  };
  Part part_of(int rank) const {
    if (whole) return {0, values.numel()};
    const std::int64_t begin = std::min(values.numel(), rank * share + first);
    const std::int64_t end = std::min({values.numel(), (rank + 1) * share, rank * share + first + most});
    return {begin, std::max<std::int64_t>(0, end - begin)};
  }
  std::byte* bytes_at(std::int64_t element) const { return bytes_of(values) + element * values.element_size(); }
};

MpiReductions::MpiReductions(int rank, int world_size, std::int64_t chunk_elements)
    : rank_(rank), size_(world_size), chunk_elements_(chunk_elements) {}

MpiReductions::~MpiReductions() {
  if (active_.empty()) return;
  // An error ends this rank in the middle of a step: MPI may still write into these buffers.
  static_cast<void>(new std::deque(std::move(active_)));
}

std::int64_t MpiReductions::start(Exchange exchange, const at::Tensor& values, ReduceKind kind,
                                  const at::Tensor& result) {
  const std::int64_t ticket = ++last_started_;
  const at::Tensor flat = values.view({-1});
  const std::int64_t share = ceil_div(flat.numel(), std::int64_t{size_});
  const std::shared_ptr<HostMemory> memory = memory_of(exchange, values);
  const bool whole = exchange == Exchange::all_reduce && flat.numel() * flat.element_size() * size_ <= kWholeBytes;
  const std::int64_t most = std::max<std::int64_t>(1, whole || memory || size_ == 1 ? share : chunk_elements_ / size_);
  for (std::int64_t first = 0; first == 0 || first < share; first += most) {
    auto chunk = std::make_unique<Chunk>();
    chunk->exchange = exchange;
    chunk->values = flat;
    if (result.defined()) chunk->result = result.view({-1});
    chunk->kind = kind;
    chunk->share = share;
    chunk->first = first;
    chunk->most = most;
    chunk->whole = whole && !memory;
    chunk->memory = memory;
    chunk->ticket = first + most >= share ? ticket : 0;
    waiting_.push_back(std::move(chunk));
  }
  progress();
  return ticket;
}

void MpiReductions::finish(std::int64_t ticket) {
  while (!finished(ticket)) {
    progress();
    if (!active_.empty() && active_.front()->memory) std::this_thread::yield();  // as MPI does where cores are few
  }
}

std::shared_ptr<HostMemory> MpiReductions::memory_of(Exchange exchange, const at::Tensor& values) {
  std::erase_if(memories_, [](const auto& memory) { return memory.expired(); });
  for (const std::weak_ptr<HostMemory>& candidate : memories_) {
    std::shared_ptr<HostMemory> memory = candidate.lock();
    if (memory->holds(values.data_ptr()) && exchange == Exchange::all_reduce) return memory;
  }
  return nullptr;
}

void MpiReductions::progress() {
  for (bool moved = true; moved;) {
    while (!waiting_.empty() && active_.size() < kMaxActive) {
      active_.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
      open(*active_.back());
    }
    moved = false;
    bool may_gather = true;  // in order, since messages are told apart by their order alone
    for (const std::unique_ptr<Chunk>& chunk : active_) {
      moved = advance(*chunk, may_gather) || moved;
      may_gather = may_gather && chunk->stage == Stage::gather;
    }
    close_finished();
  }
}

void MpiReductions::close_finished() {
  while (!active_.empty() && active_.front()->stage == Stage::gather && active_.front()->requests.empty()) {
    Chunk& chunk = *active_.front();
    if (chunk.memory && !chunk.memory->all_finished(chunk.turn)) return;
    if (chunk.ticket != 0) last_finished_ = chunk.ticket;
    if (!chunk.pieces.empty()) spare_.push_back(std::move(chunk.pieces));
    active_.pop_front();
  }
}

// Whether the chunk got any further.
bool MpiReductions::advance(Chunk& chunk, bool may_gather) {
  bool moved = false;
  if (chunk.memory) {
    if (chunk.stage == Stage::gather || !chunk.memory->may_begin(chunk.turn)) return false;
    sum_in_memory(chunk);
    chunk.stage = Stage::gather;
    return true;
  }
  if (!chunk.requests.empty()) {
    int done = 0;
    SABER_MPI(MPI_Testall(narrow<int>(size_of(chunk.requests)), chunk.requests.data(), &done, MPI_STATUSES_IGNORE));
    if (done == 0) return false;
    chunk.requests.clear();
    moved = true;
  }
  if (chunk.stage == Stage::gather) return moved;
  if (!chunk.reduced) reduce(chunk);
  if (!may_gather) return moved;
  chunk.stage = Stage::gather;
  if (!chunk.whole && chunk.exchange != Exchange::reduce_scatter) open_gather(chunk);
  return true;
}

std::byte* MpiReductions::piece(Chunk& chunk, int rank, std::int64_t elements) const {
  const std::int64_t piece = rank < rank_ ? rank : rank - 1;
  return chunk.pieces.data() + piece * elements * chunk.values.element_size();
}

void MpiReductions::send(Chunk& chunk, const std::byte* data, std::int64_t elements, int to, int tag) {
  SABER_MPI(MPI_Isend(data, narrow<int>(elements), carrier_of(chunk.values, "exchange"), to, tag, communicator_.get(),
                      &chunk.requests.emplace_back()));
}

void MpiReductions::receive(Chunk& chunk, std::byte* data, std::int64_t elements, int from, int tag) {
  SABER_MPI(MPI_Irecv(data, narrow<int>(elements), carrier_of(chunk.values, "exchange"), from, tag, communicator_.get(),
                      &chunk.requests.emplace_back()));
}

// (value of rank 0 + value of rank 1) + ...
void MpiReductions::sum_in_memory(Chunk& chunk) {
  const auto [begin, size] = chunk.part_of(rank_);
  const std::int64_t most = kBlockBytes / chunk.values.element_size();
  for (std::int64_t first = begin; first < begin + size; first += most) {
    const auto of_rank = [&](int rank) {
      return at::from_blob(chunk.memory->counterpart(chunk.bytes_at(first), rank),
                           {std::min(most, begin + size - first)}, chunk.values.options());
    };
    at::Tensor total = of_rank(0);
    for (int r = 1; r < size_; ++r) combine(total, of_rank(r), chunk.kind);
    for (int r = 1; r < size_; ++r) of_rank(r).copy_(total);
  }
  chunk.memory->finish(chunk.turn);
}

void MpiReductions::open(Chunk& chunk) {
  if (chunk.memory) {
    chunk.turn = chunk.memory->offer();
    return;
  }
  chunk.reduced = chunk.exchange == Exchange::all_gather;
  if (chunk.reduced) return;
  if (!spare_.empty()) {
    chunk.pieces = std::move(spare_.back());
    spare_.pop_back();
  }
  const std::int64_t mine = chunk.part_of(rank_).size;
  const std::int64_t needed = mine * chunk.values.element_size() * (size_ - 1);
  if (size_of(chunk.pieces) < needed) chunk.pieces.resize(to_index(needed));
  for (int step = 1; step < size_; ++step) {  // each rank begins with its neighbour, so that none is asked by all
    const int to = (rank_ + step) % size_, from = (rank_ - step + size_) % size_;
    const Chunk::Part theirs = chunk.part_of(to);
    receive(chunk, piece(chunk, from, mine), mine, from, kReduceTag);
    send(chunk, chunk.bytes_at(theirs.begin), theirs.size, to, kReduceTag);
  }
}

// ((value of rank 0 + value of rank 1) + ...), where a sum of two may be taken in either order.
void MpiReductions::reduce(Chunk& chunk) {
  chunk.reduced = true;
  const auto [begin, size] = chunk.part_of(rank_);
  if (size == 0) return;
  const auto of_rank = [&, elements = size](int rank) {
    return at::from_blob(piece(chunk, rank, elements), {elements}, chunk.values.options());
  };
  at::Tensor mine = chunk.values.narrow(0, begin, size);
  if (chunk.result.defined()) mine = chunk.result.narrow(0, chunk.first, size).copy_(mine);
  if (rank_ > 0) {
    at::Tensor before = of_rank(0);
    for (int r = 1; r < rank_; ++r) combine(before, of_rank(r), chunk.kind);
    combine(mine, before, chunk.kind);
  }
  for (int r = rank_ + 1; r < size_; ++r) combine(mine, of_rank(r), chunk.kind);
}

void MpiReductions::open_gather(Chunk& chunk) {
  const Chunk::Part mine = chunk.part_of(rank_);
  for (int step = 1; step < size_; ++step) {
    const int to = (rank_ + step) % size_, from = (rank_ - step + size_) % size_;
    const Chunk::Part theirs = chunk.part_of(from);
    receive(chunk, chunk.bytes_at(theirs.begin), theirs.size, from, kGatherTag);
    send(chunk, chunk.bytes_at(mine.begin), mine.size, to, kGatherTag);
  }
}

}  // namespace saber
