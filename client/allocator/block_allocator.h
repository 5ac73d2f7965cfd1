// block_allocator.h - cuts blocks out of slabs: best fit, with coalescing.
//
// Pure bookkeeping over address ranges: it makes no system call and never
// touches the memory it hands out (which may be a GPU's). What the owner notes
// about each block is kept here beside it, so that one look-up finds both.
//
// Invariants (CheckInvariants() verifies them):
//   A1  the pieces of a slab tile it without gaps or overlaps
//   A2  no two free pieces of a slab are neighbours
//   A3  the index of free pieces holds exactly the free pieces of the slabs
//       that are not retired
//   A4  a slab's count of blocks is that of its pieces in use
//
// Units: bytes. Every block begins and ends at a multiple of kQuantum.
//
// Threads: not thread-safe; the client's lock guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_ALLOCATOR_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_ALLOCATOR_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace vrampool::client {

// Names a slab within this process, for ever: slab ids begin anew with each
// life of the daemon.
enum class SlabKey : uint64_t {};

struct Block {
  SlabKey slab{};
  uint64_t address = 0;
  uint64_t extent = 0;  // Bytes that it takes up.
  // The owner's notes.
  uint64_t asked_bytes = 0;
  uint32_t record = 0;       // In the manifest.
  uint32_t objects = 0;      // Live objects that it is part of.
  bool is_given_up = false;  // Freed by the application while in an object.
  bool is_struck = false;    // Given up, and taken off the manifest.
};

class BlockAllocator {
 public:
  static constexpr uint64_t kQuantum = 256;
  // Beyond any address space: larger requests fail without a look.
  static constexpr uint64_t kMaxBytes = uint64_t{1} << 47;

  // Adds a slab, wholly free. REQUIRES: a new key; base and size multiples of
  // kQuantum, size > 0; no overlap with another slab.
  void AddSlab(SlabKey slab, uint64_t base, uint64_t size);

  // No more blocks are cut from the slab. REQUIRES: a slab of AddSlab().
  void Retire(SlabKey slab);

  // Forgets an empty slab. REQUIRES: it has no blocks.
  void RemoveSlab(SlabKey slab);

  // A block of at least `bytes` at a multiple of `alignment`, from the smallest
  // free piece that fits; null when none does, or for a request that no slab
  // could ever serve (zero, absurd, an alignment that is no power of two). The
  // block stays where it is in memory until Free().
  Block* Allocate(uint64_t bytes, uint64_t alignment);

  // REQUIRES: a block of Allocate().
  void Free(Block* block);

  // The block that begins at `address`, or that has `address` in it; or null.
  Block* BlockAt(uint64_t address);
  Block* BlockAround(uint64_t address);

  uint64_t BlocksIn(SlabKey slab) const;

  // The bytes that a slab must have to be sure to serve a request, or nothing
  // for a request that cannot be served. `slab_alignment` is that of slabs.
  static std::optional<uint64_t> SlabBytesFor(uint64_t bytes,
                                              uint64_t alignment,
                                              uint64_t slab_alignment);

  // Aborts unless A1 to A4 hold. Walks everything: for tests.
  void CheckInvariants() const;

 private:
  struct Piece {
    Block block;
    bool is_free = true;
  };
  struct Span {
    uint64_t base = 0;
    uint64_t size = 0;
    uint64_t blocks = 0;
    bool is_retired = false;
  };
  using Pieces = std::map<uint64_t, Piece>;                   // By address.
  using FreeIndex = std::set<std::pair<uint64_t, uint64_t>>;  // Size, address.

  FreeIndex::iterator FindFit(uint64_t bytes, uint64_t alignment);
  void IndexFree(const Piece& piece);
  void UnindexFree(const Piece& piece);
  // Makes [address, address + extent) a free piece after `before`.
  void InsertFree(Pieces::iterator before, SlabKey slab, uint64_t address,
                  uint64_t extent);

  Pieces pieces_;
  FreeIndex free_;
  std::map<SlabKey, Span> slabs_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_ALLOCATOR_H_
