#include "client/allocator/stream_cache.h"

#include <algorithm>

namespace vrampool::client {
namespace {

// A large block serves requests that leave at most this part of it unused.
constexpr uint64_t kMaxWaste = 32;  // One in so many.

}  // namespace

// The newest first: its memory is the likeliest to be in a cache.
Block* StreamCache::TakeLarge(uint64_t bytes) {
  for (uint32_t i = large_count_; i-- > 0;) {
    Block* const block = large_[i];
    if (block->extent < bytes || block->extent - bytes > bytes / kMaxWaste) {
      continue;
    }
    std::copy(large_.begin() + i + 1, large_.begin() + large_count_,
              large_.begin() + i);
    --large_count_;
    large_low_ = std::min(large_low_, large_count_);
    bytes_ -= block->extent;
    large_bytes_ -= block->extent;
    return block;
  }
  return nullptr;
}

bool StreamCache::PutLarge(Block* block, uint64_t limit) {
  large_[large_count_++] = block;
  large_bytes_ += block->extent;
  return HasTooManyLarge(limit);
}

BlockList StreamCache::Shed(uint32_t size_class, uint64_t limit) {
  BlockList out;
  if (size_class != kLargeClass) {
    Bin& bin = bins_[size_class];
    Drop(bin, (bin.blocks.count + 1) / 2, out);
    return out;
  }
  while (HasTooManyLarge(limit)) DropLarge(1, out);
  return out;
}

BlockList StreamCache::TakeUnused() {
  BlockList out;
  for (Bin& bin : bins_) {
    Drop(bin, bin.low, out);
    bin.low = bin.blocks.count;
  }
  DropLarge(large_low_, out);
  large_low_ = large_count_;
  return out;
}

BlockList StreamCache::TakeAll() {
  BlockList out;
  for (Bin& bin : bins_) Drop(bin, bin.blocks.count, out);
  DropLarge(large_count_, out);
  return out;
}

BlockList StreamCache::TakeLargeOnes() {
  BlockList out;
  DropLarge(large_count_, out);
  return out;
}

void StreamCache::Drop(Bin& bin, uint32_t count, BlockList& out) {
  if (count == 0) return;
  Block** end = &bin.blocks.first;
  for (uint32_t kept = bin.blocks.count - count; kept > 0; --kept) {
    end = &(*end)->next_cached;
  }
  Block* next = *end;
  *end = nullptr;
  bin.blocks.count -= count;
  bin.low = std::min(bin.low, bin.blocks.count);
  while (next != nullptr) {
    Block* const block = next;
    next = block->next_cached;
    bytes_ -= block->extent;
    out.Push(block);
  }
}

void StreamCache::DropLarge(uint32_t count, BlockList& out) {
  for (uint32_t i = 0; i < count; ++i) {
    bytes_ -= large_[i]->extent;
    large_bytes_ -= large_[i]->extent;
    out.Push(large_[i]);
  }
  std::copy(large_.begin() + count, large_.begin() + large_count_,
            large_.begin());
  large_count_ -= count;
  large_low_ = std::min(large_low_, large_count_);
}

}  // namespace vrampool::client
