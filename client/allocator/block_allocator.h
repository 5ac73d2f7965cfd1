// block_allocator.h - cuts blocks out of slabs: good fit, with coalescing.
//
// Pure bookkeeping over address ranges: it makes no system call and never
// touches the memory it hands out (which may be a GPU's). What the owner notes
// about each block is kept here beside it, so that one look-up finds both.
//
// A free piece has an *owner*: who may have it without any wait. Memory that
// nobody's work can touch any more is everyone's; what was freed on a stream is
// that stream's until its work there is known to be done. Who owns what, and
// when that changes, is decided by OrderedBlocks. Memory of the host is always
// everyone's.
//
// Invariants (CheckInvariants() verifies them):
//   A1  the pieces of a slab tile it without gaps or overlaps
//   A2  no two free pieces of one owner in a slab are neighbours
//   A3  the indexes of free pieces hold exactly the free pieces of the slabs
//       that are not retired, under their owners
//   A4  a slab's count of blocks is that of its pieces in use
//   A5  the lists of owned pieces hold exactly the free pieces that are not
//       everyone's, and a slab's count of them, and the sum of their bytes, is
//       right
//   A6  the table holds exactly the pieces in use
//
// Units: bytes. Every block begins and ends at a multiple of kQuantum.
//
// Threads: not thread-safe; the client's lock guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_ALLOCATOR_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_ALLOCATOR_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "client/allocator/block.h"
#include "client/allocator/block_arena.h"
#include "client/allocator/block_table.h"
#include "client/allocator/free_index.h"

namespace vrampool::client {

// A slab's range of addresses.
struct Span {
  SlabKey key{};
  uint64_t base = 0;
  uint64_t size = 0;
  uint64_t blocks = 0;  // Pieces in use.
  uint64_t owned = 0;   // Free pieces that are not everyone's.
  uint64_t kept = 0;    // Those that captures keep.
  bool is_retired = false;
  Block* first = nullptr;
};

// The free pieces of one owner.
struct OwnerShare {
  Owner owner{};
  FreeIndex index;         // Without those of retired slabs.
  Block* first = nullptr;  // All of them; not kept for everyone.
  uint64_t pieces = 0;
};

class BlockAllocator {
 public:
  static constexpr uint64_t kQuantum = FreeIndex::kQuantum;
  // Beyond any address space: larger requests fail without a look.
  static constexpr uint64_t kMaxBytes = uint64_t{1} << 47;

  // What throws std::bad_alloc has then changed nothing.

  // Adds a slab, wholly free. REQUIRES: a new key; base and size multiples of
  // kQuantum, size > 0; no overlap with another slab.
  void AddSlab(SlabKey slab, uint64_t base, uint64_t size);

  // No more blocks are cut from the slab. REQUIRES: a slab of AddSlab().
  void Retire(SlabKey slab);

  // Forgets a slab. REQUIRES: it is all free, and everyone's.
  void RemoveSlab(SlabKey slab);

  // A piece that was free, or a part of one that became part of a block.
  struct Part {
    uint64_t address = 0;
    uint64_t extent = 0;
    Owner owner{};
    uint64_t number = 0;  // Of the free that made it, in its stream's order.
  };

  // A block of at least `bytes` at a multiple of `alignment`, from a free piece
  // that is `owner`'s or everyone's and among the smallest that fit, or else
  // from several such that are neighbours; null when there is none, or for a
  // request that no slab could ever serve (zero, absurd, an alignment that is
  // no power of two). `parts`, when not null, receives what the block was made
  // of. The block stays where it is in memory until Free(), and is kHeld.
  Block* Allocate(uint64_t bytes, uint64_t alignment, Owner owner = {},
                  std::vector<Part>* parts = nullptr);

  // A block of `bytes` that takes up all of a slab; when it is free again, no
  // more is cut from that. Null unless it fits into the slab, and that is all
  // free and everyone's.
  Block* AllocateWhole(SlabKey slab, uint64_t bytes,
                       std::vector<Part>* parts = nullptr);

  // As Allocate(), from the smallest row of neighbouring free pieces that all
  // satisfy `is_fit`, whose they may be. Walks every piece.
  using Fitness = std::function<bool(const Owner& owner, uint64_t number)>;
  Block* AllocateWhere(uint64_t bytes, uint64_t alignment,
                       const Fitness& is_fit, std::vector<Part>* parts);

  // Undoes one of the two: the parts are free again, each for whom `owner_of`
  // says (an owner that was there before, or everyone). Throws nothing when it
  // comes at once.
  using OwnerOf = std::function<Owner(const Part& part)>;
  void PutBack(Block* block, const std::vector<Part>& parts,
               const OwnerOf& owner_of);

  // The next Free() for `owner` throws nothing, if nobody else's comes before
  // it. Throws std::bad_alloc.
  void PrepareFree(const Owner& owner) { (void)ShareOf(owner); }

  // The block becomes a free piece of `owner`, by that free of its stream.
  // REQUIRES: a block of Allocate(). Throws std::bad_alloc without
  // PrepareFree().
  void Free(Block* block, Owner owner = {}, uint64_t number = 0);

  // What is `from`'s, by frees up to `number`, becomes `to`'s. The slabs that
  // it lies in, each once.
  std::vector<SlabKey> Pass(Owner from, uint64_t number, Owner to);
  // All that own something, everyone aside.
  std::vector<Owner> Owners() const;

  // The block that begins at `address`, or that has `address` in it; or null.
  Block* BlockAt(uint64_t address);
  Block* BlockAround(uint64_t address);

  // For look-ups without the lock; as long as the allocator lives.
  const BlockTable& table() const { return *table_; }
  // Every piece in use.
  void ForEachBlock(SlabKey slab, const std::function<void(Block*)>& see);

  uint64_t BlocksIn(SlabKey slab) const;
  // Free pieces that are not everyone's.
  uint64_t OwnedIn(SlabKey slab) const;
  // Those of them that a capture keeps.
  uint64_t KeptIn(SlabKey slab) const;

  // Their bytes, in all slabs.
  uint64_t owned_bytes() const { return owned_bytes_; }

  // `see(owner, number)` for every free piece that is not everyone's.
  void ForEachOwned(
      const std::function<void(const Owner&, uint64_t)>& see) const;

  // The bytes that a slab must have to be sure to serve a request, or nothing
  // for a request that cannot be served. `slab_alignment` is that of slabs.
  static std::optional<uint64_t> SlabBytesFor(uint64_t bytes,
                                              uint64_t alignment,
                                              uint64_t slab_alignment);

  // Aborts unless A1 to A6 hold. Walks everything: for tests.
  void CheckInvariants() const;

 private:
  struct Fit {
    Block* piece = nullptr;  // The first of the row that it begins in.
    uint64_t size = 0;       // Of the row.
    uint64_t address = 0;    // Where the block begins.
  };

  Fit FindFit(uint64_t bytes, uint64_t alignment, const Owner& owner) const;
  Fit FindRow(uint64_t bytes, uint64_t alignment, const Fitness& is_fit) const;
  static bool IsUsable(const Block& piece, const Fitness& is_fit);
  // Makes [fit.address, fit.address + extent) of free pieces a block of
  // `bytes`.
  Block* Carve(const Fit& fit, uint64_t extent, uint64_t bytes,
               std::vector<Part>* parts);
  Block* NewFree(Span& span, const Part& part, Block* before);
  void Unlink(Block* piece);
  // Joins a free piece that is in no index with its neighbours.
  void MergeAndIndex(Block* piece);
  void Absorb(Block* left, Block* right);
  void IndexFree(Block* piece);
  void UnindexFree(Block* piece);
  OwnerShare& ShareOf(const Owner& owner);
  void DropEmptyShares();
  void CheckPiece(const Block& piece) const;
  uint64_t CheckSpan(const Span& span, std::map<Owner, uint64_t>& seen) const;

  BlockArena arena_;
  std::unique_ptr<BlockTable> table_ = std::make_unique<BlockTable>();
  std::map<Owner, OwnerShare> shares_;
  std::map<SlabKey, Span> spans_;
  std::map<uint64_t, Span*> by_base_;
  uint64_t owned_bytes_ = 0;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_ALLOCATOR_H_
