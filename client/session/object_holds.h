// object_holds.h - opening and closing an object without an RPC.
//
// The client's half of the protocol of proto/shm/object_table.h, on what the
// daemon has mapped into this process. Its accesses are those of
// proto/shm/hold_protocol.h.
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
#include "proto/shm/hold_protocol.h"
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

  // The word itself, or null.
  const std::atomic<uint64_t>* Slot(ObjectId object) const;

  // Whether it may still become live or broken.
  bool MayBePending(ObjectId object) const {
    return shm::MayBePending(Load(object), object);
  }

  // Whether it has, once it was there.
  bool HasEnded(ObjectId object) const {
    return shm::SlotGeneration(Load(object)) > ObjectGeneration(object);
  }
  // Whether it is promised, and may still be made.
  bool IsUnmade(ObjectId object) const {
    return Load(object) ==
           shm::MakeSlotWord(ObjectGeneration(object), shm::ObjectState::kFree);
  }

 private:
  ObjectTable(SharedRegion region, uint32_t slot_count)
      : region_(std::move(region)), slot_count_(slot_count) {}

  SharedRegion region_;
  uint32_t slot_count_ = 0;
};

// Waits while `object` is promised and not made, for as long as `pause`, called
// again and again, is true. False if it still is not then.
template <typename Pause>
bool AwaitMade(const ObjectTable& table, ObjectId object, Pause pause) {
  while (table.IsUnmade(object)) {
    if (!pause()) return false;
  }
  return true;
}

using shm::HoldOutcome;
using shm::Takes;

// O1 to O4; what has no slot cannot be held. REQUIRES: `hold` is clear.
HoldOutcome TryHold(std::atomic<uint64_t>& hold, const ObjectTable& table,
                    ObjectId object, Takes takes);

// C1 to C3: clears `hold`. True if HoldReleased must be sent.
// REQUIRES: TryHold() made it hold `object`.
bool ReleaseHold(std::atomic<uint64_t>& hold, const ObjectTable& table,
                 ObjectId object);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_OBJECT_HOLDS_H_
