// Every rank's message to all ranks, its length and its payload together, without copies on this side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <type_traits>

namespace saber {

class MpiBackend;

// Rewards of a step, for example:
//   MessageGather gather(group);
//   const std::span<Entry> mine = gather.prepare<Entry>(most);   // write up to `most` entries here
//   gather.gather<Entry>(written);
//   for (int r = 0; r < world_size; ++r) use(gather.of_rank<Entry>(r));
class MessageGather {
 public:
  // device: whose backend of the group carries the messages. With the CPU's they go straight to MPI, with a GPU's by
  // way of its memory. The group must outlive this.
  explicit MessageGather(c10d::ProcessGroup& group, c10::Device device = at::kCPU);

  // This rank's message, of at most `most` values; `most` is the same on all ranks, each of which sends as many bytes.
  // Valid until the next call of prepare.
  template <class T>
  std::span<T> prepare(std::int64_t most) {
    require_plain<T>();
    return {reinterpret_cast<T*>(prepare_bytes(most * kSize<T>)), static_cast<std::size_t>(most)};
  }
  // Collective: sends the first `count` values. Blocks. Throws when they are more than were prepared for.
  template <class T>
  void gather(std::int64_t count) {
    gather_bytes(count * kSize<T>);
  }
  // What a rank sent. Valid until the next call of prepare.
  template <class T>
  std::span<const T> of_rank(std::int64_t rank) const {
    require_plain<T>();
    const std::span<const std::byte> bytes = bytes_of_rank(rank);
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }

 private:
  template <class T>
  static constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  template <class T>
  static void require_plain() {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= sizeof(std::int64_t));
  }

  std::byte* prepare_bytes(std::int64_t most);
  void gather_bytes(std::int64_t length);
  std::span<const std::byte> bytes_of_rank(std::int64_t rank) const;
  void gather_on_device();

  c10d::ProcessGroup& group_;
  c10::Device device_;
  c10::intrusive_ptr<c10d::Backend> backend_;
  MpiBackend* mpi_ = nullptr;                     // of backend_; null: messages go by way of the device's memory
  std::int64_t world_, slot_ = 0, capacity_ = 0;  // bytes of a message, and that the memory can hold
  std::unique_ptr<std::byte[]> mine_, all_;
};

}  // namespace saber
