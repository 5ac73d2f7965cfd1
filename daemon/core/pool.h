// pool.h - the slabs of one device and the state each of them is in.
//
//            Reserve            Move                 Move
//     free ----------> creating ----> leased, clean <----> ...
//      ^                                                    |
//      +------------------------- Erase --------------------+
//
// Which moves are legal is the table in pool.cc, which Move() executes.
//
// Invariants:
//   P1  capacity == free + sum of the bytes in every state   (IsConserved)
//   P2  the bytes in a state == sum of the sizes of the slabs in it
//   P3  a slab is charged iff it is leased, parked, kept or lingering, or is
//       creating or destroying on somebody's behalf
//   P4  a clean slab is mapped by nobody
// CheckInvariants() verifies all but P3, which is Slab::charge's own doing.
//
// Threads: not thread-safe. The Arbiter owns it.

#ifndef VRAMPOOL_DAEMON_CORE_POOL_H_
#define VRAMPOOL_DAEMON_CORE_POOL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <tuple>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "daemon/core/ledger.h"
#include "daemon/core/requests.h"
#include "daemon/core/snapshot.h"

namespace vrampool {

// One physical allocation. Fields are the Arbiter's to set, except those that
// are const and `state`, which only Pool moves.
struct Slab {
  Slab(SlabId slab_id, Bytes slab_size, HandleKind slab_kind)
      : id(slab_id), size(slab_size), kind(slab_kind) {}

  const SlabId id;
  const Bytes size;
  const HandleKind kind;
  // Whose it is, whoever is charged. Empty: never given to anybody.
  std::optional<TenantId> tenant;
  SessionId session{};   // Lessee, or who parked it.
  LeaseId lease{};       // Set while leased.
  LeaseRequest request;  // What it was leased for.
  Charge charge;
  Pledge pledge;  // Of those that map it and are not charged.
  absl::flat_hash_set<SessionId> mappers;  // Who may still map it.
  uint32_t objects = 0;                    // Living in it.
  bool was_mapped = false;  // Leased: its lessee had parked it before.
  bool is_spoiled = false;  // One that mapped it died: never leased anew.
  bool had_guests = false;  // Other tenants mapped it: never leased anew.
  bool is_stuck = false;    // The device failed to destroy it.

  SlabState state() const { return state_; }
  absl::Time since() const { return since_; }

 private:
  friend class Pool;
  SlabState state_ = SlabState::kCreating;
  absl::Time since_;
};

class Pool {
 public:
  explicit Pool(Bytes capacity);

  // A new slab in state kCreating. REQUIRES: 0 < size <= free().
  Slab& Reserve(Bytes size, HandleKind kind, absl::Time now);

  // A slab as it was before a restart. Ids that Reserve() gives out are above
  // `last_id`. REQUIRES: size <= free(), the id is new; nothing else yet.
  Slab& Restore(SlabId id, Bytes size, HandleKind kind,
                std::optional<TenantId> tenant, SlabState state,
                absl::Time since);
  void SetLastId(uint64_t last_id) { last_id_ = last_id; }
  uint64_t last_id() const { return last_id_; }

  // REQUIRES: the table allows the move; for kClean also: nobody maps it.
  void Move(Slab& slab, SlabState to, absl::Time now);

  // Forgets a slab that the device has given up, or never made; its bytes are
  // free again and its charge ends. REQUIRES: creating, destroying or
  // lingering.
  void Erase(SlabId id);

  Slab* Find(SlabId id) const;  // Null if there is none.

  // The smallest clean slab of `tenant` (empty: nobody's yet) and `kind` that
  // holds `size` and wastes at most an eighth of it. Null if there is none.
  Slab* FindClean(std::optional<TenantId> tenant, HandleKind kind,
                  Bytes size) const;

  // The slab that has been clean for longest; null if none is clean.
  Slab* OldestClean();

  Bytes capacity() const { return capacity_; }
  Bytes free() const { return free_; }
  Bytes clean() const;
  // Being destroyed, not stuck, and mapped by nobody: free soon.
  Bytes coming() const;
  PoolUsage usage() const;
  const std::map<SlabId, std::unique_ptr<Slab>>& slabs() const {
    return slabs_;
  }

  // P1, in constant time: runs in release builds after every operation.
  bool IsConserved() const;
  // Aborts unless P1, P2 and P4 hold. Walks every slab.
  void CheckInvariants() const;

 private:
  // Tenant (0: nobody's, else id + 1), kind, size, slab: in this order for
  // FindClean().
  using CleanKey = std::tuple<uint64_t, HandleKind, Bytes, SlabId>;
  static CleanKey KeyOf(const Slab& slab);
  void Index(const Slab& slab);
  Bytes& bytes_in(SlabState state) {
    return by_state_[static_cast<int>(state)];
  }

  const Bytes capacity_;
  Bytes free_;
  Bytes by_state_[kSlabStates];
  uint64_t last_id_ = 0;
  std::map<SlabId, std::unique_ptr<Slab>> slabs_;
  std::set<CleanKey> clean_;
  std::set<std::pair<absl::Time, SlabId>> clean_by_age_;
  // In state kDestroying: only these are looked at by coming().
  std::set<SlabId> destroying_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_POOL_H_
