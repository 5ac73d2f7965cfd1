#include "client/allocator/block_table.h"

#include <sys/mman.h>

#include <new>

#include "base/check.h"

namespace vrampool::client {

BlockTable::BlockTable() = default;

BlockTable::~BlockTable() {
  for (void* const mapping : mappings_) {
    ::munmap(mapping, kLeavesAtOnce * sizeof(Leaf));
  }
}

// The kernel's zero pages are null pointers, and cost nothing until they are
// written: a page for each 128 KiB in which blocks begin.
BlockTable::Leaf* BlockTable::TakeLeaf() {
  if (spare_leaves_.empty()) {
    mappings_.reserve(mappings_.size() + 1);
    spare_leaves_.reserve((mappings_.size() + 1) * kLeavesAtOnce);
    void* const mapping =
        ::mmap(nullptr, kLeavesAtOnce * sizeof(Leaf), PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) throw std::bad_alloc();
    mappings_.push_back(mapping);
    for (size_t i = kLeavesAtOnce; i-- > 0;) {
      spare_leaves_.push_back(static_cast<Leaf*>(mapping) + i);
    }
  }
  Leaf* const leaf = spare_leaves_.back();
  spare_leaves_.pop_back();
  return leaf;
}

void BlockTable::Enter(uint64_t address, Block* block) {
  VRAMPOOL_CHECK(address < kEnd && address % kQuantum == 0);
  std::atomic<Branch*>& root = root_[RootIndex(address)];
  Branch* branch = root.load(std::memory_order_relaxed);
  if (branch == nullptr) {
    branches_.push_back(std::make_unique<Branch>());
    branch = branches_.back().get();
    root.store(branch, std::memory_order_release);
  }
  const size_t index = BranchIndex(address);
  Leaf* leaf = branch->leaves[index].load(std::memory_order_relaxed);
  if (leaf == nullptr) {
    leaf = TakeLeaf();
    branch->leaves[index].store(leaf, std::memory_order_release);
  }
  ++branch->blocks[index];
  (*leaf)[LeafIndex(address)].store(block, std::memory_order_release);
}

void BlockTable::Remove(uint64_t address) {
  Branch* const branch =
      root_[RootIndex(address)].load(std::memory_order_relaxed);
  const size_t index = BranchIndex(address);
  Leaf* const leaf = branch->leaves[index].load(std::memory_order_relaxed);
  (*leaf)[LeafIndex(address)].store(nullptr, std::memory_order_release);
  if (--branch->blocks[index] > 0) return;
  branch->leaves[index].store(nullptr, std::memory_order_release);
  spare_leaves_.push_back(leaf);
}

Block* BlockTable::FindBefore(uint64_t address, uint64_t floor) const {
  if (address >= kEnd) return nullptr;
  uint64_t at = address / kQuantum * kQuantum;
  while (at >= floor) {
    const Branch* const branch =
        root_[RootIndex(at)].load(std::memory_order_acquire);
    const Leaf* const leaf =
        branch == nullptr
            ? nullptr
            : branch->leaves[BranchIndex(at)].load(std::memory_order_acquire);
    const uint64_t leaf_begin = at - LeafIndex(at) * kQuantum;
    if (leaf != nullptr) {
      for (;; at -= kQuantum) {
        Block* const block =
            (*leaf)[LeafIndex(at)].load(std::memory_order_acquire);
        if (block != nullptr) return at >= floor ? block : nullptr;
        if (at == leaf_begin) break;
      }
    }
    if (leaf_begin == 0) return nullptr;
    at = leaf_begin - kQuantum;
  }
  return nullptr;
}

}  // namespace vrampool::client
