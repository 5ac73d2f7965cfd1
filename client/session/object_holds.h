// object_holds.h - opening and closing an object without an RPC.
//
// The client's half of the protocol whose picture and proof are in
// proto/shm/object_table.h. Where that says "store, seq_cst fence, load" there
// is a sequentially consistent exchange of the hold and a sequentially
// consistent load of the slot here, which is no weaker: all four accesses (or
// the other side's fences, [atomics.order] 4) have places in the one total
// order S of sequentially consistent operations. Say the opener's load misses
// the daemon's kRetiring: then O3 comes before D2 in S, and O1 before O3, so
// the scan D3, which follows D2, sees the hold. Fences were not used because
// ThreadSanitizer does not model them.
//
// Threads: ObjectTable is immutable; the functions work on one hold that
// belongs to the caller.

#ifndef VRAMPOOL_CLIENT_SESSION_OBJECT_HOLDS_H_
#define VRAMPOOL_CLIENT_SESSION_OBJECT_HOLDS_H_

#include <atomic>
#include <cstdint>

#include "base/ids.h"
#include "base/unique_fd.h"
#include "client/session/shared_region.h"
#include "client/session/status.h"
#include "proto/shm/object_table.h"

namespace vrampool::client {

// The daemon's published table, mapped for reading.
class ObjectTable {
 public:
  // Internal or VersionMismatch when it is not what this version describes.
  static Result<ObjectTable> Map(UniqueFd fd, uint64_t size, Epoch epoch);

  // The word of the object's slot; 0, which is no live object's, when the table
  // has no such slot.
  uint64_t Load(ObjectId object) const;

  // Whether it may still become live or broken.
  bool IsPending(ObjectId object) const {
    return Load(object) == shm::MakeSlotWord(ObjectGeneration(object),
                                             shm::ObjectState::kPending);
  }

 private:
  ObjectTable(SharedRegion region, uint32_t slot_count)
      : region_(std::move(region)), slot_count_(slot_count) {}

  SharedRegion region_;
  uint32_t slot_count_ = 0;
};

// O1 to O4: true if `hold` now holds `object`; otherwise it is clear again, and
// the way is an RPC. A hold that was cleared again may have been seen by the
// daemon's scan, so `must_report` says whether HoldReleased is to be sent.
// REQUIRES: `hold` is clear.
struct HoldOutcome {
  bool is_held = false;
  bool must_report = false;
};
HoldOutcome TryHold(std::atomic<uint64_t>& hold, const ObjectTable& table,
                    ObjectId object);

// C1 to C3: clears `hold`. True if HoldReleased must be sent.
bool ReleaseHold(std::atomic<uint64_t>& hold, const ObjectTable& table,
                 ObjectId object);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_OBJECT_HOLDS_H_
