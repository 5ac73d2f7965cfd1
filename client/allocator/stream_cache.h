// stream_cache.h - blocks that one thread freed on one stream, to be allocated
// again by that thread on that stream: last in, first out.
//
// Small blocks lie in bins by their class, of which any serves any request; of
// large ones the last few are kept, and serve a request that fills them. What
// lies here keeps its place in a slab and cannot be joined with its neighbours,
// so of a client's bytes only a part may: the caller's `limit`.
//
// Threads: not thread-safe; the lock of the ThreadCache guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_STREAM_CACHE_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_STREAM_CACHE_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "client/allocator/block.h"
#include "client/allocator/size_class.h"

namespace vrampool::client {

// Blocks in a row, by their next_cached.
struct BlockList {
  Block* first = nullptr;
  uint32_t count = 0;

  void Push(Block* block) {
    block->next_cached = first;
    first = block;
    ++count;
  }
  Block* Pop() {
    Block* const block = first;
    first = block->next_cached;
    --count;
    return block;
  }
};

class StreamCache {
 public:
  // Of the bytes of one bin, of all bins, of the large blocks; the last two
  // also at most `limit`, but for one bin. The block that was put last does not
  // count among the bins', nor a large one that is alone: who frees a block and
  // allocates as much again finds it, however little the client has.
  static constexpr uint64_t kMaxBinBytes = uint64_t{512} << 10;
  static constexpr uint64_t kMaxSmallBytes = uint64_t{32} << 20;
  static constexpr uint64_t kMaxLargeBytes = uint64_t{256} << 20;
  static constexpr uint32_t kMaxLarge = 8;

  explicit StreamCache(StreamKey stream) : stream_(stream) {}

  StreamKey stream() const { return stream_; }
  bool is_empty() const { return bytes_ == 0; }
  uint64_t bytes() const { return bytes_; }

  // A block for `bytes` > 0, or null.
  Block* Take(uint64_t bytes) {
    if (bytes > kMaxSmall) return TakeLarge(bytes);
    Bin& bin = bins_[SizeClassOf(bytes)];
    if (bin.blocks.first == nullptr) return nullptr;
    Block* const block = bin.blocks.Pop();
    if (bin.blocks.count < bin.low) bin.low = bin.blocks.count;
    bytes_ -= block->extent;
    return block;
  }

  // Keeps the block. True: there are now more than should be kept; Shed() some.
  bool Put(Block* block, uint64_t limit) {
    bytes_ += block->extent;
    if (block->size_class == kLargeClass) return PutLarge(block, limit);
    Bin& bin = bins_[block->size_class];
    bin.blocks.Push(block);
    const uint64_t others = bytes_ - large_bytes_ - block->extent;
    return bin.blocks.count > kMaxIn[block->size_class] ||
           others > std::clamp(limit, kMaxBinBytes, kMaxSmallBytes);
  }

  // Takes the oldest out, after Put() of a block of that class said so.
  BlockList Shed(uint32_t size_class, uint64_t limit);
  // What has not been needed since the last call.
  BlockList TakeUnused();
  BlockList TakeAll();
  // All large ones.
  BlockList TakeLargeOnes();

 private:
  struct Bin {
    BlockList blocks;
    uint32_t low = 0;  // The fewest since the last TakeUnused().
  };

  // How many blocks a bin of each class keeps: at least a few, so that sheds
  // are rare. A table, because a division takes as long as the rest of a free.
  static constexpr std::array<uint16_t, kSizeClasses> kMaxIn = [] {
    std::array<uint16_t, kSizeClasses> most{};
    for (uint32_t i = 0; i < kSizeClasses; ++i) {
      const uint64_t fit = kMaxBinBytes / SizeOfClass(i);
      most[i] = static_cast<uint16_t>(std::clamp<uint64_t>(fit, 4, 256));
    }
    return most;
  }();

  Block* TakeLarge(uint64_t bytes);
  bool PutLarge(Block* block, uint64_t limit);
  bool HasTooManyLarge(uint64_t limit) const {
    return large_count_ > kMaxLarge ||
           (large_count_ > 1 && large_bytes_ > std::min(limit, kMaxLargeBytes));
  }
  // Moves the `count` oldest of a bin, or of the large ones, to `out`.
  void Drop(Bin& bin, uint32_t count, BlockList& out);
  void DropLarge(uint32_t count, BlockList& out);

  const StreamKey stream_;
  uint64_t bytes_ = 0;
  uint64_t large_bytes_ = 0;
  uint32_t large_count_ = 0;
  uint32_t large_low_ = 0;
  std::array<Block*, kMaxLarge + 1> large_{};  // Oldest first.
  std::array<Bin, kSizeClasses> bins_{};
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_STREAM_CACHE_H_
