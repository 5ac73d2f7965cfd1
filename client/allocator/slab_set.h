// slab_set.h - the slabs that this process maps, and the blocks in them.
//
// A slab is *leased* (blocks are cut from it), *opened* (it is another
// process's; objects in it are held here), or both by turns; or *parked*: given
// back while it stays mapped, because unmapping would stall the process.
//
// It is *idle* when it has no block, no object of ours lives in it, nothing is
// pinned in it, and no work on the GPU can touch it; idle slabs are what can be
// given back. A slab that lacks only the last is *settling*, unless a capture
// keeps some of it: then time alone does not bring that. What is parked, or
// opened and cannot be unmapped without a stall, counts as neither.
//
// A *dedicated* slab has one block and will have no other: other tenants may be
// let into it. It is given back as soon as it is idle.
//
// Every block is recorded in the manifest of its slab's session before it is
// handed out, and taken off it before its memory can be cut again.
//
// A want of memory (std::bad_alloc) changes nothing, but where a function says
// otherwise.
//
// Threads: not thread-safe; the client's lock guards it. It makes no system
// call but to read the clock when a slab becomes idle, and no call to CUDA.

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_SLAB_SET_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_SLAB_SET_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "client/allocator/block_allocator.h"
#include "client/allocator/debug_quarantine.h"
#include "client/allocator/ordered_blocks.h"
#include "client/allocator/stream_cache.h"
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
  bool is_parked = false;
  bool is_settling = false;
  bool is_writable = true;  // In this process.
  LeaseId lease{};          // When leased.
  uint64_t pins = 0;        // Open objects in it, and calls under way.
  bool is_dedicated = false;
  bool is_foreign = false;   // Another tenant's.
  bool is_retired = false;   // Its session has ended and another has begun.
  bool is_ahead = false;     // Leased before it was needed, and not used yet.
  bool is_reserved = false;  // Has a pin for that.
  std::optional<std::chrono::steady_clock::time_point> idle_since;
};

// What the application asks for, and what is recorded of it.
struct BlockRequest {
  uint64_t bytes = 0;
  uint64_t red_zone = 0;  // Bytes to cut behind them.
  uint64_t alignment = BlockAllocator::kQuantum;
  cudaStream_t stream = nullptr;
  uint64_t call_site = 0;
  const char* frames = nullptr;      // As in vrampool_client_allocate_from().
  const CallStack* stack = nullptr;  // To be recorded with it.
  uint64_t tag_version = 0;          // thread_head.h; 0: the client's own tag.
  std::string_view tag;
  bool is_careful = false;    // The stream may be capturing unannounced.
  bool is_dedicated = false;  // To be alone in its slab.
  bool is_impatient = false;  // Not to wait for room (the option wait_ms).
  StreamKey asked_key = kUnknownStream;  // The stream's, if it was asked for.
  StreamUse use;  // What `stream` was found to be; filled in by Client.

  uint64_t bytes_to_cut() const {
    return SaturatingAdd(Bytes(bytes), Bytes(red_zone)).count();
  }
};

// A block that it gives back.
struct FreeRequest {
  void* p = nullptr;
  uint64_t bytes = 0;
  cudaStream_t stream = nullptr;
  uint64_t call_site = 0;
  bool is_careful = false;
  bool is_eager = false;  // Worth an event.
  StreamKey asked_key = kUnknownStream;
};

class SlabSet {
 public:
  // Which idle slabs to give up.
  enum class Which {
    kAll,
    // All that have been idle since before the given moment, and all that are
    // not to be used again: dedicated ones, and those of sessions that have
    // ended.
    kDue,
    // Those, and all leased ones: they are too small for what is needed.
    kLeased,
  };

  // Adds a mapped slab that is not leased, with one pin.
  Slab& AddOpened(std::shared_ptr<Session> session, SlabId id,
                  SlabMapping mapping);
  // From now on blocks are cut from it.
  void MakeLeased(Slab& slab, LeaseId lease);

  // The slab `id` of `session`, or null.
  Slab* Find(const Session& session, SlabId id);
  Slab& Get(SlabKey key);

  // A block that the request's stream may have at once, recorded; null when no
  // slab has room for it. Limit when the manifest has none.
  Result<Block*> Cut(const BlockRequest& request);

  // The same, of all of a slab that has no block yet, and is dedicated from
  // here on; null when its session has ended.
  Result<Block*> CutWhole(SlabKey key, const BlockRequest& request);

  // As Cut(), out of memory that other streams freed: nobody has the block
  // until FinishAcross(), which records it, or UndoAcross().
  std::optional<OrderedBlocks::Cut> CutAcross(const BlockRequest& request);
  Result<Block*> FinishAcross(const OrderedBlocks::Cut& cut,
                              const BlockRequest& request);
  void UndoAcross(const OrderedBlocks::Cut& cut);

  // From now on blocks that are released go there first. It must outlive the
  // set's use.
  void SetQuarantine(DebugQuarantine* quarantine) { quarantine_ = quarantine; }

  // Takes the record of a block that was given up back, and frees it; or later,
  // by ReleaseReady(), if work of other streams is to be waited for; or puts it
  // into the quarantine.
  void Release(Block* block);
  // The same for a block that has left the quarantine. False: for want of
  // memory nothing has changed.
  bool TryReleaseQuarantined(Block* block);
  // Frees those that have waited for it. True if there were any.
  bool ReleaseReady();
  // Frees blocks of a thread's cache, as freed on that stream now. An event is
  // wanted when one is due, when a slab has no other block, and for large ones
  // if `is_eager`.
  OrderedBlocks::Going ReleaseCached(BlockList blocks, const StreamUse& use,
                                     bool is_eager);

  // `settle(ordered())` gives the slabs of which more is everyone's now. True
  // if there are any.
  template <typename Settle>
  bool Settling(const Settle& settle) {
    try {
      const std::vector<SlabKey> slabs = settle(ordered_);
      for (const SlabKey key : slabs) NoteIdle(slabs_.at(key));
      return !slabs.empty();
    } catch (const std::bad_alloc&) {  // Of any, perhaps.
      for (auto& [key, slab] : slabs_) NoteIdle(slab);
      throw;
    }
  }
  bool HasSettling() const { return settling_ > 0 || ordered_.has_awaited(); }
  // Counts one object more or fewer that the block is part of. A block that the
  // application has given up is released with its last object. False: the
  // application does not have the block (any more), and nothing is counted.
  bool AddObject(Block* block);
  void RemoveObject(Block* block);

  // Takes the record of a block that the application has given up off the
  // manifest, while the object that keeps it goes on: for a session's end.
  void StrikeGivenUp(Block* block);

  void Pin(SlabKey key);
  void Unpin(SlabKey key);

  // The slab is part of the client's reserve and keeps the pin that the caller
  // has: it is never idle.
  void Reserve(SlabKey key) { slabs_.at(key).is_reserved = true; }
  // No slab is any more; or none that has no blocks. True if any was.
  enum class Reserved { kAll, kUnused };
  bool DropReserve(Reserved which);

  BlockAllocator& blocks() { return ordered_.pieces(); }
  OrderedBlocks& ordered() { return ordered_; }

  // No more blocks from the slabs of `session`, which has ended.
  void RetireSession(const Session& session);

  struct ParkedLease {
    std::shared_ptr<Session> session;
    SlabId slab{};
    LeaseId lease{};
  };
  // What is to be given back: slabs to unmap, no longer in the set, and leases
  // of slabs that stay mapped, which are parked from here on.
  struct Departures {
    std::vector<Slab> slabs;
    std::vector<ParkedLease> parked;
    bool is_empty() const { return slabs.empty() && parked.empty(); }
    void Reserve(size_t count) {
      slabs.reserve(count);
      parked.reserve(count);
    }
  };

  // Gives idle slabs up. Slabs of `current` are kept while its daemon is away,
  // unless all are wanted: they are all there is.
  Departures TakeIdle(Which which,
                      std::chrono::steady_clock::time_point idle_before,
                      const Session& current);
  // All that is idle or parked, or opened and not in use, to be unmapped
  // whatever that costs.
  Departures TakeUnused();

  // Not to be used again: TakeIdle() takes them at once.
  bool HasIdleSpent() const { return idle_spent_ > 0; }
  bool HasIdleLeased() const { return idle_leased_ > 0; }
  bool HasIdle() const { return idle_leased_ + idle_opened_ + idle_spent_ > 0; }
  // Whether a block was cut from a slab that was leased ahead, since the last
  // call.
  bool TakeAheadUsed() { return std::exchange(is_ahead_used_, false); }
  // Since when the slab has been idle that has been so longest.
  std::optional<std::chrono::steady_clock::time_point> OldestIdle() const;

  // Of slabs in the set.
  struct Totals {
    uint64_t leased_bytes = 0;
    uint64_t dedicated_bytes = 0;  // Of these.
    uint64_t leased_slabs = 0;
    uint64_t opened_bytes = 0;
    uint64_t parked_bytes = 0;
    uint64_t live_bytes = 0;
    uint64_t live_blocks = 0;
    // What blocks are cut from.
    uint64_t common_bytes() const { return leased_bytes - dedicated_bytes; }
  };
  const Totals& totals() const { return totals_; }

 private:
  Result<Block*> Enter(const OrderedBlocks::Cut& cut,
                       const BlockRequest& request);
  bool IsUnused(const Slab& slab) const;
  static bool IsSpent(const Slab& slab) {
    return slab.is_retired || slab.is_dedicated;
  }
  uint64_t& IdleCountOf(const Slab& slab);
  uint64_t& BytesOf(const Slab& slab);
  void NoteIdle(Slab& slab);
  void NoteUsed(Slab& slab);
  void StopLease(Slab& slab);
  void Park(Slab& slab, Departures& departures);
  void Remove(Slab& slab);
  void PublishMapped(Session& session);

  void ReleaseStruck(Block* block, Slab& slab);

  OrderedBlocks ordered_;
  DebugQuarantine* quarantine_ = nullptr;  // Mostly there is none.
  std::map<SlabKey, Slab> slabs_;
  std::map<std::pair<const Session*, SlabId>, SlabKey> by_id_;
  std::map<const Session*, uint64_t> mapped_bytes_;
  // Counts of slabs, so that the common questions need no walk.
  uint64_t idle_leased_ = 0;
  uint64_t idle_opened_ = 0;
  uint64_t idle_spent_ = 0;
  uint64_t settling_ = 0;
  bool is_ahead_used_ = false;
  uint64_t next_key_ = 1;
  Totals totals_;
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_SLAB_SET_H_
