// hold_protocol.h - every access of both sides to a hold or to a slot of the
// object table, in its order.
//
// The picture and the argument are in object_table.h, whose names for the steps
// stand here beside them. Where it says "store, seq_cst fence, load" there are
// a sequentially consistent exchange and a sequentially consistent load, which
// are no weaker: all of them have places in the one total order S of
// sequentially consistent operations ([atomics.order] 4). Say the opener's load
// misses the daemon's kRetiring: then O3 comes before D1 in S, and O1 before
// O3, so the scan D3, which follows D1, sees the hold. Fences were not used
// because ThreadSanitizer does not model them.
//
// Templates, because two things run them: both sides, with std::atomic in
// shared memory, and tests/holds, with words whose loads may give whatever the
// memory model allows, in every interleaving. A word needs load, store and
// exchange as std::atomic has them.
//
// Leaf: shared by daemon and client, links nothing.

#ifndef VRAMPOOL_PROTO_SHM_HOLD_PROTOCOL_H_
#define VRAMPOOL_PROTO_SHM_HOLD_PROTOCOL_H_

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/ids.h"
#include "proto/shm/manifest.h"
#include "proto/shm/object_table.h"

namespace vrampool::shm {

// O0: holds below `used` are in use; before the first use of the last of them.
// As strong as the others: a scan that misses it misses the hold.
template <typename Mark>
void RaiseHoldMark(Mark& mark, uint32_t used) {
  mark.store(used, std::memory_order_seq_cst);
}

// O1 to O4: is_held if `hold` now holds `object`; otherwise it is clear again,
// and the way is an RPC. A hold that was cleared again may have been seen by
// the daemon's scan, so `must_report` says whether HoldReleased is to be sent.
// REQUIRES: `hold` is clear; `slot` is the object's.
struct HoldOutcome {
  bool is_held = false;
  bool must_report = false;
};
template <typename Hold, typename Slot>
HoldOutcome TryHold(Hold& hold, const Slot& slot, ObjectId object,
                    Takes takes) {
  hold.exchange(static_cast<uint64_t>(object), std::memory_order_seq_cst);
  if (IsOpenable(slot.load(std::memory_order_seq_cst), object, takes)) {
    return {.is_held = true, .must_report = false};
  }
  hold.exchange(0, std::memory_order_seq_cst);
  // The daemon keeps the object until somebody reports, if its scan took the
  // short-lived hold for a real one.
  const uint64_t word = slot.load(std::memory_order_seq_cst);
  return {.is_held = false, .must_report = MayAwaitReport(word, object)};
}

// C1 to C3: clears `hold`. True if HoldReleased must be sent.
template <typename Hold, typename Slot>
bool ReleaseHold(Hold& hold, const Slot& slot, ObjectId object) {
  hold.exchange(0, std::memory_order_seq_cst);
  return MustReportRelease(slot.load(std::memory_order_seq_cst), object);
}

// D1 and D2, D4: store and full fence in one.
template <typename Slot>
void PublishSlot(Slot& slot, uint64_t word) {
  slot.exchange(word, std::memory_order_seq_cst);
}

// D3, of one manifest: is `object` among its holds? Whatever a hostile client
// writes, this looks at kHoldCapacity words at most.
template <typename Mark, typename Hold>
bool IsAmongHolds(const Mark& mark, const Hold* holds, ObjectId object) {
  const uint64_t count =
      std::min<uint64_t>(mark.load(std::memory_order_seq_cst), kHoldCapacity);
  for (uint64_t i = 0; i < count; ++i) {
    if (holds[i].load(std::memory_order_seq_cst) ==
        static_cast<uint64_t>(object)) {
      return true;
    }
  }
  return false;
}

}  // namespace vrampool::shm

#endif  // VRAMPOOL_PROTO_SHM_HOLD_PROTOCOL_H_
