// debug_quarantine.h - freed blocks that are not to be reused yet, in the order
// of their frees.
//
// A block leaves when so many bytes as `bound` have been freed after it, or
// when all are wanted, if its owner lets it. So it holds `bound` and one block
// more, at most, and what the owner keeps. The memory stays leased; what its
// stream still does with it goes on being known (ordered_blocks.h): leaving
// only makes the free take place.
//
// Units: bytes that blocks take up. Throws nothing.
//
// Threads: not thread-safe; the client's lock guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_QUARANTINE_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_QUARANTINE_H_

#include <cstdint>

#include "client/allocator/block.h"
#include "client/allocator/stream_cache.h"

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

  // The oldest, if it is its time to leave; or null. It stays.
  Block* FirstDue() const {
    return first_ != nullptr && bytes_ - first_->extent >= bound_ ? first_
                                                                  : nullptr;
  }
  // Those whose time it is, or all, of which `may_leave(block)` says so.
  template <typename MayLeave>
  BlockList TakeDue(const MayLeave& may_leave) {
    return Take(bound_, may_leave);
  }
  template <typename MayLeave>
  BlockList TakeAll(const MayLeave& may_leave) {
    return Take(0, may_leave);
  }

  uint64_t bytes() const { return bytes_; }

 private:
  template <typename MayLeave>
  BlockList Take(uint64_t bound, const MayLeave& may_leave) {
    BlockList taken;
    uint64_t behind = bytes_;
    Block* before = nullptr;
    Block* block = first_;
    while (block != nullptr && behind - block->extent >= bound) {
      behind -= block->extent;
      Block* const next = block->next_cached;
      if (may_leave(block)) {
        (before == nullptr ? first_ : before->next_cached) = next;
        bytes_ -= block->extent;
        taken.Push(block);
      } else {
        before = block;
      }
      block = next;
    }
    if (block == nullptr) last_ = before;
    return taken;
  }

  const uint64_t bound_;
  uint64_t bytes_ = 0;
  Block* first_ = nullptr;
  Block* last_ = nullptr;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_QUARANTINE_H_
