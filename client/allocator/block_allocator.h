// block_allocator.h - cuts blocks out of slabs: best fit, with coalescing.
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
//   A3  the index of free pieces holds exactly the free pieces of the slabs
//       that are not retired, under their owners
//   A4  a slab's count of blocks is that of its pieces in use
//   A5  the lists of owned pieces hold exactly the free pieces that are not
//       everyone's, and a slab's count of them is right
//
// Units: bytes. Every block begins and ends at a multiple of kQuantum.
//
// Threads: not thread-safe; the client's lock guards it.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_ALLOCATOR_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_ALLOCATOR_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "client/cuda/stream_events.h"

namespace vrampool::client {

// Names a slab within this process, for ever: slab ids begin anew with each
// life of the daemon.
enum class SlabKey : uint64_t {};

// Keeps memory for the graphs that a capture made (capture_book.h).
enum class CaptureId : uint64_t {};
inline constexpr CaptureId kNoCapture{0};

// Who may have a free piece without a wait.
struct Owner {
  StreamKey stream = kNoStream;
  CaptureId capture = kNoCapture;  // Not while a graph of it lives.

  bool is_everyone() const { return *this == Owner{}; }
  friend auto operator<=>(const Owner&, const Owner&) = default;
};

struct Block {
  SlabKey slab{};
  uint64_t address = 0;
  uint64_t extent = 0;  // Bytes that it takes up.
  // The notes of those who use it.
  uint64_t asked_bytes = 0;
  uint32_t record = 0;       // In the manifest.
  uint32_t objects = 0;      // Live objects that it is part of.
  bool is_given_up = false;  // Freed by the application, and not free yet.
  bool is_struck = false;    // Given up, and taken off the manifest.
  CaptureId capture = kNoCapture;  // That it was allocated in.
  Owner next_owner{};              // When given up: whose it will be, and
  uint64_t freed_number = 0;       // that free's number (stream_order.h).
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

  // Forgets a slab. REQUIRES: it is all free, and everyone's.
  void RemoveSlab(SlabKey slab);

  // A piece that was free, or a part of one that became part of a block.
  struct Part {
    uint64_t address = 0;
    uint64_t extent = 0;
    Owner owner{};
    uint64_t number = 0;  // Of the free that made it, in its stream's order.
  };

  // A block of at least `bytes` at a multiple of `alignment`, from the smallest
  // free piece that fits and is `owner`'s or everyone's, or else from several
  // such that are neighbours; null when there is none, or for a request that no
  // slab could ever serve (zero, absurd, an alignment that is no power of two).
  // `parts`, when not null, receives what the block was made of. The block
  // stays where it is in memory until Free().
  Block* Allocate(uint64_t bytes, uint64_t alignment, Owner owner = {},
                  std::vector<Part>* parts = nullptr);

  // The same from the smallest row of neighbouring free pieces that all satisfy
  // `is_fit`, whose they may be. Walks every piece.
  using Fitness = std::function<bool(const Owner& owner, uint64_t number)>;
  Block* AllocateWhere(uint64_t bytes, uint64_t alignment,
                       const Fitness& is_fit, std::vector<Part>* parts);

  // Undoes one of the two: the parts are free again as they were.
  void PutBack(Block* block, const std::vector<Part>& parts);

  // The block becomes a free piece of `owner`, by that free of its stream.
  // REQUIRES: a block of Allocate().
  void Free(Block* block, Owner owner = {}, uint64_t number = 0);

  // What is `from`'s, by frees up to `number`, becomes `to`'s. The slabs that
  // it lies in, each once.
  std::vector<SlabKey> Pass(Owner from, uint64_t number, Owner to);
  // All that own something, everyone aside.
  std::vector<Owner> Owners() const;

  // The block that begins at `address`, or that has `address` in it; or null.
  Block* BlockAt(uint64_t address);
  Block* BlockAround(uint64_t address);

  uint64_t BlocksIn(SlabKey slab) const;
  // Free pieces that are not everyone's.
  uint64_t OwnedIn(SlabKey slab) const;

  // `see(owner, number)` for every free piece that is not everyone's.
  void ForEachOwned(
      const std::function<void(const Owner&, uint64_t)>& see) const;

  // The bytes that a slab must have to be sure to serve a request, or nothing
  // for a request that cannot be served. `slab_alignment` is that of slabs.
  static std::optional<uint64_t> SlabBytesFor(uint64_t bytes,
                                              uint64_t alignment,
                                              uint64_t slab_alignment);

  // Aborts unless A1 to A5 hold. Walks everything: for tests.
  void CheckInvariants() const;

 private:
  struct Piece {
    Block block;
    bool is_free = true;
    Owner owner{};        // When free.
    uint64_t number = 0;  // When free.
  };
  struct Span {
    uint64_t base = 0;
    uint64_t size = 0;
    uint64_t blocks = 0;
    uint64_t owned = 0;
    bool is_retired = false;
  };
  using Pieces = std::map<uint64_t, Piece>;                   // By address.
  using FreeIndex = std::set<std::pair<uint64_t, uint64_t>>;  // Size, address.
  struct Fit {
    uint64_t size = 0;
    uint64_t address = 0;
  };

  std::optional<Fit> FindFit(uint64_t bytes, uint64_t alignment,
                             const Owner& owner) const;
  std::optional<Fit> FindRow(uint64_t bytes, uint64_t alignment,
                             const Fitness& is_fit) const;
  bool IsUsable(const Piece& piece, const Fitness& is_fit) const;
  // Makes [address, address + extent) of free pieces a block of `bytes`.
  Block* Carve(uint64_t address, uint64_t extent, uint64_t bytes,
               std::vector<Part>* parts);
  void AddFree(Pieces::iterator before, const Part& part, SlabKey slab);
  // Joins a free piece that is in no index with its neighbours.
  void MergeAndIndex(Pieces::iterator at);
  bool CanMerge(const Piece& left, const Piece& right) const;
  void IndexFree(const Piece& piece);
  void UnindexFree(const Piece& piece);
  void EraseFrom(const Owner& owner, uint64_t size, uint64_t address);
  void CheckPiece(const Piece& piece, const Span& span) const;

  Pieces pieces_;
  std::map<Owner, FreeIndex> free_;            // No index is empty.
  std::map<Owner, std::set<uint64_t>> owned_;  // Addresses; none is empty.
  std::map<SlabKey, Span> slabs_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_ALLOCATOR_H_
