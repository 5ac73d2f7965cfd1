// object_book.h - the objects of one device: names, secrets, holds and the
// published table.
//
// The book knows which sessions hold an object by call; holds that clients
// wrote into their manifests it learns by asking the HoldOracle, at the one
// moment it matters: when an object could end. The order of the stores to the
// ObjectTable and of that question is the daemon's half of the protocol in
// proto/shm/object_table.h (D1 to D4).
//
// Invariants (CheckInvariants() verifies them):
//   O1  an object has a hold by call, or a name, or is watched
//   O2  names are unique within a tenant
//   O3  a tenant's objects are counted, and its metadata bytes are the sum over
//       them
//   O4  only a pending object is expected, and by sessions that hold it
//   O5  an object with a name, and no other, is listed by when that expires, if
//       it does, and counted in its slabs
//   O6  a slot is an object's, reserved for one, free or worn out
//
// Threads: not thread-safe. The Arbiter owns it.

#ifndef VRAMPOOL_DAEMON_CORE_OBJECT_BOOK_H_
#define VRAMPOOL_DAEMON_CORE_OBJECT_BOOK_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "daemon/core/ledger.h"
#include "daemon/core/requests.h"
#include "daemon/core/settings.h"
#include "daemon/core/snapshot.h"

namespace vrampool {

// The published table (port). Store must be sequentially consistent and be
// followed by a sequentially consistent fence.
class ObjectTable {
 public:
  virtual ~ObjectTable() = default;
  virtual void Store(uint64_t slot, uint64_t word) = 0;
};

// The holds in clients' manifests (port): is `object` held in the manifest of
// one of `sessions`? Must not block; reads shared memory only.
class HoldOracle {
 public:
  virtual ~HoldOracle() = default;
  virtual bool IsHeld(ObjectId object,
                      const std::vector<SessionId>& sessions) = 0;
};

struct Object {
  ObjectId id{};
  ObjectSecret secret = {};
  std::string name;  // Empty: anonymous, or unlinked.
  TenantId tenant{};
  std::vector<std::string> grants;  // Other tenants that may open it: paths.
  SessionId producer{};
  bool producer_is_live = true;  // And has not given its slabs back.
  std::vector<BufferRef> buffers;
  std::vector<SlabId> slabs;  // Of the buffers, each once.
  std::string layout;
  std::string metadata;
  ObjectPhase phase = ObjectPhase::kLive;
  bool is_sealed = false;
  bool is_watched = false;              // Held by manifests only.
  std::map<SessionId, uint32_t> holds;  // By call.
  // Pending: who opened it all the same, and is to be told what becomes of it.
  std::set<SessionId> expecting;
  absl::Time created_at;
  absl::Time last_opened_at = absl::InfinitePast();
  absl::Time expires_at = absl::InfiniteFuture();  // Its name does.

  Bytes size() const;
};

// Whether one of the grants is the tenant with this path, or above it.
bool IsGranted(const std::vector<std::string>& grants,
               const std::string& tenant);

class ObjectBook {
 public:
  ObjectBook(const Bounds& bounds, ObjectTable& table, HoldOracle& oracle);

  // Adds an object with one hold of `producer`. The request's buffers have been
  // checked; this checks name and bounds.
  //   NAME_TAKEN, LIMIT_REACHED (objects, metadata).
  absl::Status CanAdd(TenantId tenant, const ShareRequest& request) const;
  // The same for an object whose id was reserved.
  absl::Status CanDescribe(TenantId tenant, const ShareRequest& request) const;
  // REQUIRES: CanAdd() was OK; or `reserved` is, and CanDescribe() was.
  Object& Add(TenantId tenant, SessionId producer, ShareRequest request,
              std::vector<SlabId> slabs, const ObjectSecret& secret,
              absl::Time now, std::optional<ObjectId> reserved = std::nullopt);

  // Takes a slot for an object that is added later, and publishes its
  // generation as free. REQUIRES: HasRoom().
  bool HasRoom() const;
  ObjectId Reserve();
  // Nothing will be added: the id is never used again.
  void Release(ObjectId reserved);
  uint64_t reserved() const { return reserved_; }

  // Objects as they were before a restart, and the generation of every slot
  // that was ever used; publishes all of them. REQUIRES: called once, on an
  // empty book; ids, generations and names fit together.
  void Restore(std::vector<Object> objects, std::vector<uint64_t> generations);
  const std::vector<uint64_t>& generations() const { return generations_; }

  Object* Find(ObjectId id);
  Object* FindByName(TenantId tenant, std::string_view name);
  // Some object in the slab has a name.
  bool HasNamedIn(SlabId slab) const { return named_in_.contains(slab); }

  // The contents of a pending object are complete, or never will be (then its
  // name goes, too). Gives those who expected it: tell them after this.
  std::set<SessionId> MarkReady(Object& object);
  std::set<SessionId> MarkBroken(Object& object);
  void TakeName(Object& object);
  // An object whose name has expired by `now`, or null.
  Object* FindExpired(absl::Time now);

  void AddHold(Object& object, SessionId session);
  // REQUIRES: the session has a hold.
  void DropHold(Object& object, SessionId session);
  void DropAllHolds(Object& object, SessionId session);

  // Ends the object if nothing holds it: no call, no name, and no manifest of
  // `sessions` (the live sessions that may map its slabs). True if it has
  // ended; `object` is then gone.
  bool TryEnd(Object& object, const std::vector<SessionId>& sessions);

  // The object has ended without ever having been live. False also when nobody
  // knows any more, because another has ended in its slot since.
  bool HasEndedUnready(ObjectId id) const;

  // What one tenant's objects come to.
  struct Count {
    uint64_t objects = 0;
    uint64_t metadata_bytes = 0;
    bool operator==(const Count&) const = default;
  };
  const std::map<TenantId, Count>& counts() const { return counts_; }

  const std::map<ObjectId, std::unique_ptr<Object>>& objects() const {
    return objects_;
  }
  void CheckInvariants() const;

 private:
  uint64_t MetadataBytes(const Object& object) const;
  void Publish(const Object& object);
  uint64_t TakeSlot();
  void Vacate(ObjectId id, bool has_ended_unready);
  void CheckSlots() const;
  void EnterName(const Object& object);

  const uint32_t slot_count_;
  const Bytes metadata_per_tenant_;
  ObjectTable& table_;
  HoldOracle& oracle_;
  std::map<ObjectId, std::unique_ptr<Object>> objects_;
  std::map<std::pair<TenantId, std::string>, ObjectId> names_;
  std::map<SlabId, uint32_t> named_in_;  // Objects, of slabs that have any.
  std::set<std::pair<absl::Time, ObjectId>> expiries_;
  std::map<TenantId, Count> counts_;  // Of tenants that have any.
  std::vector<uint64_t>
      generations_;  // By slot: of its present or next object.
  std::vector<bool> has_ended_unready_;  // By slot: its last that has ended.
  std::vector<uint64_t> free_slots_;
  uint64_t reserved_ = 0;  // Slots.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_OBJECT_BOOK_H_
