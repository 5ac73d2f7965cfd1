// block_arena.h - storage for Blocks: used again, never given back before the
// arena's own end (block.h says why).
//
// Threads: not thread-safe; the client's lock guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_ARENA_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_ARENA_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "client/allocator/block.h"

namespace vrampool::client {

class BlockArena {
 public:
  // The next `count` calls of Take() throw nothing. Throws std::bad_alloc.
  void Reserve(size_t count) {
    while (spares_ < count) Grow();
  }

  // A free piece without a place. Throws std::bad_alloc.
  Block* Take() {
    if (spare_ == nullptr) Grow();
    Block* const block = spare_;
    spare_ = block->next_fit;
    --spares_;
    block->next_fit = nullptr;
    return block;
  }

  // Not even a pointer to it may be used afterwards, but for its phase.
  void Give(Block* block) {
    Clear(*block);
    block->next_fit = spare_;
    spare_ = block;
    ++spares_;
  }

 private:
  static constexpr size_t kChunk = 256;

  static void Clear(Block& block) {
    block.phase.store(BlockPhase::kFree, std::memory_order_relaxed);
    block.asked_bytes.store(0, std::memory_order_relaxed);
    block.place = nullptr;
    block.next_cached = nullptr;
    block.record = 0;
    block.objects = 0;
    block.is_struck = false;
    block.has_uses = false;
    block.debug = 0;
    block.capture = kNoCapture;
    block.share = nullptr;
  }

  void Grow() {
    chunks_.push_back(std::make_unique<Block[]>(kChunk));
    Block* const chunk = chunks_.back().get();
    for (size_t i = kChunk; i-- > 0;) {
      chunk[i].next_fit = spare_;
      spare_ = &chunk[i];
    }
    spares_ += kChunk;
  }

  std::vector<std::unique_ptr<Block[]>> chunks_;
  Block* spare_ = nullptr;
  size_t spares_ = 0;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_ARENA_H_
