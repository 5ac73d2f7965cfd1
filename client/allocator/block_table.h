// block_table.h - from an address to the block that begins there, without a
// lock.
//
// A tree of three levels over 48 bits of address. A leaf covers 2 MiB and costs
// only the pages that are touched. Nothing in it is given back before its own
// end: a leaf that becomes empty is used again for another range, so a reader
// finds what is there now, or null, and never memory that has gone.
//
// Threads: Find() from any thread; the others under the client's lock.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_TABLE_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_TABLE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "client/allocator/block.h"

namespace vrampool::client {

class BlockTable {
 public:
  // Addresses below this can be entered: user space on x86-64 (47 bits) and
  // arm64, as long as nobody asks the kernel for more.
  static constexpr uint64_t kEnd = uint64_t{1} << 48;
  static constexpr uint64_t kQuantum = 256;

  BlockTable();
  ~BlockTable();
  BlockTable(const BlockTable&) = delete;
  BlockTable& operator=(const BlockTable&) = delete;

  // REQUIRES: `address` is a multiple of kQuantum below kEnd, and no block is
  // entered there. Throws std::bad_alloc, and has then changed nothing.
  void Enter(uint64_t address, Block* block);
  // REQUIRES: a block is entered there.
  void Remove(uint64_t address);

  // The block that begins at `address`, or null.
  Block* Find(uint64_t address) const {
    if (address >= kEnd || address % kQuantum != 0) return nullptr;
    const Branch* const branch =
        root_[RootIndex(address)].load(std::memory_order_acquire);
    if (branch == nullptr) return nullptr;
    const Leaf* const leaf =
        branch->leaves[BranchIndex(address)].load(std::memory_order_acquire);
    if (leaf == nullptr) return nullptr;
    return (*leaf)[LeafIndex(address)].load(std::memory_order_acquire);
  }

  // The last block that begins in [floor, address], or null.
  Block* FindBefore(uint64_t address, uint64_t floor) const;

 private:
  static constexpr int kBits = 13;  // Of each level.
  static constexpr size_t kWidth = size_t{1} << kBits;
  static constexpr size_t kRootWidth = 2 * kWidth;
  static constexpr size_t kLeavesAtOnce = 64;

  using Leaf = std::array<std::atomic<Block*>, kWidth>;
  struct Branch {
    std::array<std::atomic<Leaf*>, kWidth> leaves{};
    std::array<uint32_t, kWidth> blocks{};  // In each leaf.
  };

  static size_t RootIndex(uint64_t address) {
    return (address >> (8 + 2 * kBits)) & (kRootWidth - 1);
  }
  static size_t BranchIndex(uint64_t address) {
    return (address >> (8 + kBits)) & (kWidth - 1);
  }
  static size_t LeafIndex(uint64_t address) {
    return (address >> 8) & (kWidth - 1);
  }

  Leaf* TakeLeaf();

  std::array<std::atomic<Branch*>, kRootWidth> root_{};
  std::vector<std::unique_ptr<Branch>> branches_;
  std::vector<void*> mappings_;      // Of kLeavesAtOnce leaves each.
  std::vector<Leaf*> spare_leaves_;  // All null.
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_TABLE_H_
