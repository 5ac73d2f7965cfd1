// free_index.h - free pieces by size: the smallest that fits, in a few steps.
//
// Two-level segregated fit (Masmano, Ripoll, Crespo, Real: "TLSF: a new dynamic
// memory allocator for real-time systems", ECRTS 2004): a list for each range
// of sizes, 32 ranges to a doubling, and a bit for each list that is not empty.
// Unlike there, the list that a size itself belongs to is searched, too, so
// that a request never fails while a piece fits.
//
// Threads: not thread-safe; the client's lock guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_FREE_INDEX_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_FREE_INDEX_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "client/allocator/block.h"

namespace vrampool::client {

class FreeIndex {
 public:
  static constexpr uint64_t kQuantum = 256;

  void Insert(Block* piece);
  void Erase(Block* piece);
  bool is_empty() const { return size_ == 0; }
  size_t size() const { return size_; }

  // A piece with room for `bytes` at a multiple of `alignment` that is among
  // the smallest, or null when there is none. Both are multiples of kQuantum,
  // `alignment` a power of two.
  Block* Find(uint64_t bytes, uint64_t alignment) const;

  // For tests. True if the piece is in the list that it belongs to.
  bool Has(const Block* piece) const;

 private:
  static constexpr size_t kLists = 1152;  // Up to 2^48 bytes.
  static constexpr size_t kWords = kLists / 64;

  static size_t ListOf(uint64_t extent);
  // The first list from `from` on that is not empty, or kLists.
  size_t NextList(size_t from) const;
  // The smallest of the first `limit` pieces of a list that fits.
  Block* Best(size_t list, uint64_t bytes, uint64_t alignment,
              size_t limit) const;

  std::array<Block*, kLists> lists_{};
  std::array<uint64_t, kWords> occupied_{};
  size_t size_ = 0;
};

// Where a block would begin in a free piece, if it fits: at the lowest multiple
// of `alignment`.
constexpr bool FitsIn(uint64_t address, uint64_t extent, uint64_t bytes,
                      uint64_t alignment) {
  const uint64_t begin = (address + alignment - 1) & ~(alignment - 1);
  const uint64_t lost = begin - address;
  return lost <= extent && bytes <= extent - lost;
}

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_FREE_INDEX_H_
