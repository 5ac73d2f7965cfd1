// debug_quarantine.h - freed blocks that are not to be reused yet, in the order
// of their frees.
//
// A block leaves when so many bytes as `bound` have been freed after it, or
// when all are wanted. So it holds `bound` and one block more, at most. The
// memory stays leased; what its stream still does with it goes on being known
// (ordered_blocks.h): leaving only makes the free take place.
//
// Units: bytes that blocks take up. Throws nothing.
//
// Threads: not thread-safe; the client's lock guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_QUARANTINE_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_QUARANTINE_H_

#include <cstdint>

#include "client/allocator/block.h"

namespace vrampool::client {

class DebugQuarantine {
 public:
  explicit DebugQuarantine(uint64_t bound) : bound_(bound) {}

  // The newest. REQUIRES: a block that is kHeld and in no cache.
  void Push(Block* block) {
    block->debug |= kQuarantined;
    block->next_cached = nullptr;
    (last_ == nullptr ? first_ : last_->next_cached) = block;
    last_ = block;
    bytes_ += block->extent;
  }

  // The oldest, if it is its time to leave; or null.
  Block* TakeDue() {
    return first_ != nullptr && bytes_ - first_->extent >= bound_ ? Pop()
                                                                  : nullptr;
  }
  // The oldest; or null.
  Block* TakeAny() { return first_ == nullptr ? nullptr : Pop(); }

  uint64_t bytes() const { return bytes_; }

 private:
  Block* Pop() {
    Block* const block = first_;
    first_ = block->next_cached;
    if (first_ == nullptr) last_ = nullptr;
    block->next_cached = nullptr;
    bytes_ -= block->extent;
    return block;
  }

  const uint64_t bound_;
  uint64_t bytes_ = 0;
  Block* first_ = nullptr;
  Block* last_ = nullptr;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_QUARANTINE_H_
