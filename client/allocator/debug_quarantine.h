// debug_quarantine.h - freed blocks that are not to be reused yet, in the order
// of their frees.
//
// A block leaves when so many bytes as `bound` have been freed after it, or
// when all are wanted, if its owner lets it; if not, it is late, and leaves as
// soon as it is let. So it holds `bound` and one block more, at most, and what
// is late. The memory stays leased; what its stream still does with it goes on
// being known (ordered_blocks.h): leaving only makes the free take place.
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
  // It could not leave after all.
  void PushLate(Block* block) {
    Push(block);
    NoteLate(block);
  }

  // The oldest, if it is its time to leave; or null. It stays.
  Block* FirstDue() const {
    return first_ != nullptr && bytes_ - first_->extent >= bound_ ? first_
                                                                  : nullptr;
  }
  // Those whose time it is, and who are late; or all; of which
  // `may_leave(block)` says so.
  template <typename MayLeave>
  BlockList TakeDue(const MayLeave& may_leave) {
    return Take(bound_, may_leave);
  }
  template <typename MayLeave>
  BlockList TakeAll(const MayLeave& may_leave) {
    return Take(0, may_leave);
  }

  uint64_t bytes() const { return bytes_; }
  bool has_late() const { return late_bytes_ > 0; }
  bool has_others() const { return bytes_ > late_bytes_; }

 private:
  template <typename MayLeave>
  BlockList Take(uint64_t bound, const MayLeave& may_leave) {
    BlockList taken;
    uint64_t behind = bytes_;
    uint64_t late_behind = late_bytes_;
    Block* before = nullptr;
    Block* block = first_;
    while (block != nullptr &&
           (behind - block->extent >= bound || late_behind > 0)) {
      const bool is_due = behind - block->extent >= bound;
      const bool was_late = (block->debug & kOverdue) != 0;
      behind -= block->extent;
      if (was_late) late_behind -= block->extent;
      Block* const next = block->next_cached;
      if ((is_due || was_late) && may_leave(block)) {
        (before == nullptr ? first_ : before->next_cached) = next;
        bytes_ -= block->extent;
        if (was_late) ForgetLate(block);
        taken.Push(block);
      } else {
        if (is_due) NoteLate(block);
        before = block;
      }
      block = next;
    }
    if (block == nullptr) last_ = before;
    return taken;
  }
  void NoteLate(Block* block) {
    if ((block->debug & kOverdue) != 0) return;
    block->debug |= kOverdue;
    late_bytes_ += block->extent;
  }
  void ForgetLate(Block* block) {
    block->debug &= static_cast<uint8_t>(~kOverdue);
    late_bytes_ -= block->extent;
  }

  const uint64_t bound_;
  uint64_t bytes_ = 0;
  uint64_t late_bytes_ = 0;
  Block* first_ = nullptr;
  Block* last_ = nullptr;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_DEBUG_QUARANTINE_H_
