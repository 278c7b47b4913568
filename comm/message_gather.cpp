#include "comm/message_gather.h"

#include <ATen/Functions.h>

#include <cstring>

#include "comm/mpi_backend.h"
#include "core/error.h"
#include "core/narrow.h"

namespace saber {
namespace {

constexpr std::int64_t kLength = sizeof(std::int64_t);  // each message begins with its length in bytes

}  // namespace

MessageGather::MessageGather(c10d::ProcessGroup& group, c10::Device device)
    : group_(group), device_(device), backend_(group.getBackend(device.type())), world_(group.getSize()) {
  mpi_ = dynamic_cast<MpiBackend*>(backend_.get());
}

std::byte* MessageGather::prepare_bytes(std::int64_t most) {
  slot_ = kLength + ceil_div(most, kLength) * kLength;
  if (slot_ > capacity_) {
    capacity_ = slot_;
    mine_ = std::make_unique<std::byte[]>(to_index(slot_));
    all_ = std::make_unique_for_overwrite<std::byte[]>(to_index(slot_ * world_));
  }
  return mine_.get() + kLength;
}

void MessageGather::gather_bytes(std::int64_t length) {
  ensure(length >= 0 && kLength + length <= slot_, "a rank gives at most as many bytes as it said");
  std::memcpy(mine_.get(), &length, kLength);
  if (mpi_ != nullptr) {
    mpi_->all_gather_words(mine_.get(), all_.get(), slot_ / kLength);
  } else {
    gather_on_device();
  }
}

void MessageGather::gather_on_device() {
  const auto bytes_at = [](std::byte* data, std::int64_t size) { return at::from_blob(data, {size}, at::kByte); };
  at::Tensor message = bytes_at(mine_.get(), slot_).to(device_);
  at::Tensor all = at::empty({slot_ * world_}, message.options());
  group_._allgather_base(all, message)->wait();
  bytes_at(all_.get(), slot_ * world_).copy_(all);
}

std::span<const std::byte> MessageGather::bytes_of_rank(std::int64_t rank) const {
  const std::byte* const from = all_.get() + rank * slot_;
  std::int64_t length = 0;
  std::memcpy(&length, from, kLength);
  ensure(length >= 0 && kLength + length <= slot_, "the length of a message fits its place");
  return {from + kLength, static_cast<std::size_t>(length)};
}

}  // namespace saber
