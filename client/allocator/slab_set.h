// slab_set.h - the slabs that this process maps, and the blocks in them.
//
// A slab is *leased* (blocks are cut from it) or *opened* (it is another
// process's; objects in it are held here), or both by turns. It is *idle* when
// it has no block, no object of ours lives in it and nothing is pinned in it;
// idle slabs are what can be given back.
//
// Every block is recorded in the manifest of its slab's session before it is
// handed out, and taken off it before its memory can be cut again.
//
// Threads: not thread-safe; the client's lock guards it. It makes no system
// call but to read the clock when a slab becomes idle.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_SLAB_SET_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_SLAB_SET_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "client/allocator/block_allocator.h"
#include "client/session/session.h"
#include "client/session/slab_mapping.h"
#include "client/session/status.h"

namespace vrampool::client {

struct Slab {
  SlabKey key{};
  SlabId id{};
  std::shared_ptr<Session> session;
  SlabMapping mapping;
  bool is_leased = false;
  LeaseId lease{};          // When leased.
  uint64_t pins = 0;        // Open objects in it, and calls under way.
  bool is_retired = false;  // Its session has ended and another has begun.
  std::optional<std::chrono::steady_clock::time_point> idle_since;
};

// What the application asks for, and what is recorded of it.
struct BlockRequest {
  uint64_t bytes = 0;
  uint64_t alignment = BlockAllocator::kQuantum;
  uint64_t stream = 0;
  uint64_t call_site = 0;
  std::string_view tag;
};

class SlabSet {
 public:
  // Which idle slabs to give up.
  enum class Which {
    kAll,
    // All that have been idle since before the given moment, all of sessions
    // that have ended, and all leased ones but the last that became idle.
    kSurplus,
  };

  // Adds a mapped slab that is not leased, with one pin.
  Slab& AddOpened(std::shared_ptr<Session> session, SlabId id,
                  SlabMapping mapping);
  // From now on blocks are cut from it.
  void MakeLeased(Slab& slab, LeaseId lease);

  // The slab `id` of `session`, or null.
  Slab* Find(const Session& session, SlabId id);
  Slab& Get(SlabKey key);

  // A block, recorded; null when no slab has room. Limit when the manifest has
  // none.
  Result<Block*> Cut(const BlockRequest& request);
  // Takes the record back and frees the block.
  void Release(Block* block);
  // Counts one object more or fewer that the block is part of. A block that the
  // application has given up is released with its last object.
  void AddObject(Block* block);
  void RemoveObject(Block* block);

  // Takes the record of a block that the application has given up off the
  // manifest, while the object that keeps it goes on: for a session's end.
  void StrikeGivenUp(Block* block);

  void Pin(SlabKey key);
  void Unpin(SlabKey key);

  BlockAllocator& blocks() { return blocks_; }

  // No more blocks from the slabs of `session`, which has ended.
  void RetireSession(const Session& session);

  // Takes idle slabs out of the set. Slabs of `current` are kept while its
  // daemon is away, unless all are wanted: they are all there is.
  std::vector<Slab> TakeIdle(Which which,
                             std::chrono::steady_clock::time_point idle_before,
                             const Session& current);
  // TakeIdle(kSurplus) would take some at once.
  bool HasSurplus(const Session& current) const;
  bool HasIdle() const {
    return idle_leased_ + idle_opened_ + idle_retired_ > 0;
  }
  // Since when the slab has been idle that has been so longest.
  std::optional<std::chrono::steady_clock::time_point> OldestIdle() const;

  // Of slabs in the set.
  struct Totals {
    uint64_t leased_bytes = 0;
    uint64_t leased_slabs = 0;
    uint64_t opened_bytes = 0;
    uint64_t live_bytes = 0;
    uint64_t live_blocks = 0;
  };
  const Totals& totals() const { return totals_; }

 private:
  void NoteIdle(Slab& slab);
  void NoteUsed(Slab& slab);
  void Remove(Slab& slab);
  void PublishMapped(Session& session);

  BlockAllocator blocks_;
  std::map<SlabKey, Slab> slabs_;
  std::map<std::pair<const Session*, SlabId>, SlabKey> by_id_;
  std::map<const Session*, uint64_t> mapped_bytes_;
  // Counts of idle slabs, so that the common question needs no walk.
  uint64_t idle_leased_ = 0;
  uint64_t idle_opened_ = 0;
  uint64_t idle_retired_ = 0;
  uint64_t next_key_ = 1;
  Totals totals_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_SLAB_SET_H_
