// live_blocks.h - the blocks that a workload of random sizes has alive.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_BENCH_COMPARE_LIVE_BLOCKS_H_
#define VRAMPOOL_TESTS_BENCH_COMPARE_LIVE_BLOCKS_H_

#include <cstddef>
#include <random>
#include <utility>
#include <vector>

#include "tests/bench/compare/allocator.h"

namespace vrampool::bench {

class LiveBlocks {
 public:
  LiveBlocks(Allocator& allocator, Allocator::Stream stream)
      : allocator_(allocator), stream_(stream) {}

  // False: there was no room.
  bool Allocate(size_t bytes) {
    void* const data = allocator_.Allocate(bytes, stream_);
    ++operations_;
    if (data == nullptr) {
      ++refused_;
      return false;
    }
    blocks_.push_back({.data = data, .bytes = bytes});
    bytes_ += bytes;
    return true;
  }
  // REQUIRES: not empty.
  void FreeOne(std::minstd_rand& random) {
    std::swap(blocks_[random() % blocks_.size()], blocks_.back());
    const Block block = blocks_.back();
    blocks_.pop_back();
    allocator_.Deallocate(block.data, block.bytes, stream_);
    bytes_ -= block.bytes;
    ++operations_;
  }

  bool empty() const { return blocks_.empty(); }
  size_t bytes() const { return bytes_; }
  // Since the beginning.
  size_t operations() const { return operations_; }
  size_t refused() const { return refused_; }

 private:
  struct Block {
    void* data = nullptr;
    size_t bytes = 0;
  };

  Allocator& allocator_;
  const Allocator::Stream stream_;
  std::vector<Block> blocks_;
  size_t bytes_ = 0;
  size_t operations_ = 0;
  size_t refused_ = 0;
};

}  // namespace vrampool::bench

#endif  // VRAMPOOL_TESTS_BENCH_COMPARE_LIVE_BLOCKS_H_
