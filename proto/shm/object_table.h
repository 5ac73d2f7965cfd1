// object_table.h - the table by which openers see whether an object still
// lives.
//
// One memfd per daemon, written by the daemon, mapped read-only by every client
// (sealed with F_SEAL_FUTURE_WRITE). Slot i is one 64-bit word: the generation
// of the object that has the slot, and its state. Nothing in it is secret:
// names, tokens and places go by RPC.
//
//                  (all arrows are the daemon's)
//
//      +---- Ready ---- kPending --- producer died, --> kBroken
//      |                |  ^         or its work failed    |
//      v                |  |                               | no hold found
//    kLive <------------|--+------- Share --- kFree <------+
//      |  ^             |                      ^
//      |  +-- holds ----|-- found, one by RPC  |
//      v                v                      | no hold found
//   kRetiring ---------------------------------+
//      |  ^
//      |  +-- somebody reported HoldReleased, or the last RPC hold was closed
//      v holds found, all of them in manifests
//   kWatched; kWatchedPending if it came from kPending: Ready makes it
//   kWatched, and the producer's death, or failed work, kBroken
//
// Opening an object in a slab that the process already maps takes no RPC:
//
//   opener                                 daemon, to end object X
//   O0 if the hold was never used: raise
//      the mark of the manifest's holds
//   O1 write X into a free hold of its     D1 store (gen, kRetiring)
//      manifest                            D2 seq_cst fence
//   O2 seq_cst fence                       D3 scan the holds of all manifests
//   O3 load slot(X)                           whose session maps the slab
//   O4 (gen, kLive | kWatched): it holds   D4 none: store (gen + 1, kFree), the
//      X. Anything else: clear the hold       memory may be reused
//      and take the RPC way, where the        some: store (gen, kWatched)
//      daemon decides under its lock
//
//   closer                                 Rule: the closer reports whenever C3
//   C1 store 0 into the hold               finds a state other than kLive and
//   C2 seq_cst fence                       kPending, and the daemon runs D1-D4
//   C3 load slot(X); neither kLive nor     anew.
//      kPending of X's generation: send
//      HoldReleased
//
// An opener that learns in another way when the contents are complete
// (contents_words.h) takes kPending and kWatchedPending at O4, too. For the
// daemon an object that is pending ends as one that is live, and
// kWatchedPending is what it stores in place of kWatched. A broken one is
// opened by nobody, so its kBroken does what kRetiring does in D1, and stays
// there while holds are found.
//
// Why it is safe (the argument of hazard pointers, Michael 2004, across
// processes). The two fences O2 and D2 are totally ordered. If O2 comes first,
// the hold written at O1 is seen by the scan D3, and X is not ended. If D2
// comes first, O3 sees the kRetiring of D1 or something later. Something later
// can be kWatched of the same generation, stored because D3 found another hold;
// then X lives, and any further attempt to end it has a D2 of its own, to which
// the same argument applies. So an opener that passed O4 is seen by every scan
// that decides after it. (The scan reads as many holds as the mark says; O0
// precedes O2, too, so it sees the mark as well.) And no end is missed: take
// the last closer. If C2 precedes D2, the scan does not see the hold. If D2
// precedes C2, C3 sees kRetiring, kWatched or a later generation, and reports,
// and the daemon scans again. In both cases the object ends. A spurious report
// changes nothing. An opener that cleared its hold again is such a closer, too:
// the scan may have seen the hold, and the RPC may be refused. It reports what
// only its own attempt could have kept.
//
// The code of these steps is hold_protocol.h, object_book.cc and arbiter_*.cc;
// tests/holds runs it in every interleaving, under weak memory, too, and with
// the steps made wrong one by one.
//
// A hostile client can write false holds (its tenant's object lives on: its
// tenant stays charged) or omit its own (its own tenant's data is overwritten
// under it). Slabs never cross tenants, so it can reach nobody else.
//
// Leaf: shared by daemon and client, links nothing.

#ifndef VRAMPOOL_PROTO_SHM_OBJECT_TABLE_H_
#define VRAMPOOL_PROTO_SHM_OBJECT_TABLE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/ids.h"

namespace vrampool::shm {

inline constexpr uint64_t kTableMagic = 0x31454c4254504256;  // "VBPTBLE1"
inline constexpr uint32_t kTableVersion = 2;

enum class ObjectState : uint64_t {
  kFree = 0,     // Or promised: see Promises in proto/attach/messages.h.
  kPending = 1,  // Shared, not ready: open by RPC, which waits, or gives it as
                 // it is and tells the opener when it no longer is.
  kLive = 2,
  kRetiring = 3,  // The daemon is deciding: open by RPC.
  kWatched = 4,   // Live, held only by manifests: closers report.
  kBroken = 5,    // The producer died, or its work failed, before it was ready.
                  // Who holds it reads here that the contents are undefined;
                  // nobody opens it any more; closers report.
  kWatchedPending = 6,  // Pending, held only by manifests: closers report.
};

struct TableHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t slot_count;
  uint64_t epoch;
  uint8_t reserved[40];
};
static_assert(sizeof(TableHeader) == 64);

// A slot's word: the state in the low 8 bits, the generation above.
constexpr uint64_t MakeSlotWord(uint64_t generation, ObjectState state) {
  return (generation << 8) | static_cast<uint64_t>(state);
}
constexpr uint64_t SlotGeneration(uint64_t word) { return word >> 8; }
constexpr ObjectState SlotState(uint64_t word) {
  return static_cast<ObjectState>(word & 0xff);
}

// The words follow the header directly.
constexpr size_t TableBytes(uint32_t slot_count) {
  return sizeof(TableHeader) + size_t{slot_count} * sizeof(uint64_t);
}

// Which contents an opener takes: what is not complete yet, too, if it can
// tell.
enum class Takes { kComplete, kPending };

// O4: may an opener of `id` that wrote its hold go on without an RPC?
constexpr bool IsOpenable(uint64_t word, ObjectId id, Takes takes) {
  const ObjectState state = SlotState(word);
  const bool is_complete =
      state == ObjectState::kLive || state == ObjectState::kWatched;
  const bool is_pending =
      state == ObjectState::kPending || state == ObjectState::kWatchedPending;
  return SlotGeneration(word) == ObjectGeneration(id) &&
         (is_complete || (is_pending && takes == Takes::kPending));
}

// Whether the object may still become live or broken. (While it is retiring,
// the word does not say what it was.)
constexpr bool MayBePending(uint64_t word, ObjectId id) {
  const ObjectState state = SlotState(word);
  return SlotGeneration(word) == ObjectGeneration(id) &&
         (state == ObjectState::kPending ||
          state == ObjectState::kWatchedPending ||
          state == ObjectState::kRetiring);
}

// An opener of `id` that failed O4 and has cleared its hold: may the daemon,
// having seen that hold, keep the object until somebody reports?
constexpr bool MayAwaitReport(uint64_t word, ObjectId id) {
  const ObjectState state = SlotState(word);
  return SlotGeneration(word) == ObjectGeneration(id) &&
         (state == ObjectState::kRetiring || state == ObjectState::kWatched ||
          state == ObjectState::kWatchedPending ||
          state == ObjectState::kBroken);
}

// C3: must a closer of `id` that cleared its hold report it?
constexpr bool MustReportRelease(uint64_t word, ObjectId id) {
  const uint64_t generation = ObjectGeneration(id);
  return word != MakeSlotWord(generation, ObjectState::kLive) &&
         word != MakeSlotWord(generation, ObjectState::kPending);
}

}  // namespace vrampool::shm

#endif  // VRAMPOOL_PROTO_SHM_OBJECT_TABLE_H_
