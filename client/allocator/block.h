// block.h - a piece of a slab: a block, or free memory between blocks.
//
// Blocks are made and destroyed by BlockAllocator alone. Their storage is never
// given back while the allocator lives, so that a thread that looks a pointer
// up without the lock (block_table.h) finds a Block there, if not the one it
// hoped for.
//
// The phase of a block that the application may free is the one thing that
// threads contend for:
//
//     kFree ------> kHeld -------> kPlain <------> kCached
//       ^             ^             |   (no lock)
//       |             |             | AddObject(), ...
//       |             |             v
//       |             +--------- kSpecial
//       +-------------+
//
// Whoever takes a block out of kPlain or kSpecial, by one compare-exchange, is
// the one who frees it; a second free of the same block loses. The changes on
// the right happen in the section of a ThreadCache, all others under the
// client's lock.
//
// Threads: the fields under "notes" and "the allocator's" are guarded by the
// client's lock; the others belong to whoever took the block by its phase.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_H_

#include <atomic>
#include <compare>
#include <cstdint>

#include "client/cuda/stream_events.h"
#include "proto/shm/manifest.h"

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

enum class BlockPhase : uint32_t {
  kFree,     // A free piece, or nothing.
  kHeld,     // Not the application's: about to be, or given up by it.
  kPlain,    // The application's; may go into a cache when it is freed.
  kSpecial,  // The application's; its free needs the lock.
  kCached,   // In a thread's cache.
};

// What the debug mode has done with a block (debug_mode.h), in its `debug`.
inline constexpr uint8_t kQuarantined = 1;  // Freed, and not to be reused yet.
inline constexpr uint8_t kFilled = 2;
inline constexpr uint8_t kProtected = 4;
// On a GPU: filled, by `next_owner.stream` at `freed_number` until the free.
inline constexpr uint8_t kHasRedZone = 8;
// It was to leave the quarantine before.
inline constexpr uint8_t kOverdue = 16;

struct Span;        // Of a slab (block_allocator.h).
struct OwnerShare;  // What one owner has (block_allocator.h).

struct Block {
  uint64_t address = 0;
  uint64_t extent = 0;  // Bytes that it takes up.
  std::atomic<BlockPhase> phase{BlockPhase::kFree};
  std::atomic<uint64_t> asked_bytes{0};
  shm::BlockRecord* place = nullptr;  // Its record in the manifest.
  Block* next_cached = nullptr;
  uint32_t record = 0;      // The number of `place`.
  uint32_t size_class = 0;  // size_class.h; of a block that may be cached.

  // The notes of those who use it.
  SlabKey slab{};
  uint32_t objects = 0;    // Live objects that it is part of.
  bool is_struck = false;  // Given up, and taken off the manifest.
  bool has_uses = false;   // Other streams use it (OrderedBlocks).
  uint8_t debug = 0;
  CaptureId capture = kNoCapture;  // That it was allocated in.
  Owner next_owner{};              // When given up: whose it will be, and
  uint64_t freed_number = 0;       // that free's number (stream_order.h).

  // The allocator's.
  Owner owner{};        // When free.
  uint64_t number = 0;  // When free.
  Span* span = nullptr;
  OwnerShare* share = nullptr;  // When free.
  Block* before = nullptr;      // Its neighbours in the slab.
  Block* behind = nullptr;
  Block* previous_fit = nullptr;  // In a list of FreeIndex.
  Block* next_fit = nullptr;
  Block* previous_owned = nullptr;  // In its owner's list.
  Block* next_owned = nullptr;

  bool is_free() const {
    return phase.load(std::memory_order_relaxed) == BlockPhase::kFree;
  }
  // The application has it.
  bool is_live() const {
    const BlockPhase now = phase.load(std::memory_order_acquire);
    return now == BlockPhase::kPlain || now == BlockPhase::kSpecial;
  }
  void SetPhase(BlockPhase to) { phase.store(to, std::memory_order_release); }
  // Takes it from the application. False: it was not the application's.
  bool Take(BlockPhase from, BlockPhase to) {
    return phase.compare_exchange_strong(from, to, std::memory_order_acq_rel);
  }
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_BLOCK_H_
