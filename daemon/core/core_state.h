// core_state.h - all of an Arbiter that must survive a restart of the daemon,
// as plain values: no format, no file. Arbiter::Save() makes one and
// Arbiter::Restore() takes one, from a file that may be damaged.
//
// Left out on purpose:
//   - tickets: their callers are gone, and ask again with the same key
//   - reservations: their callers ask again, or lease without
//   - promises of objects: their ids are never used again
//   - slabs in creation: they were made for tickets, or ahead. Whoever restores
//     destroys on the device every slab that the state does not know
//   - that the device was lost, and that the daemon was stopping
// Slabs in destruction stay in that state; whether the device has done it is
// not known. After Restore(), Arbiter::RetryDestroys() asks for all of them
// again, and a device that has not found one counts as success.
//
// What follows from other fields is not here (which leases a session has, which
// slots are free, how much is charged), so that it cannot contradict them.
//
// Threads: values.

#ifndef VRAMPOOL_DAEMON_CORE_CORE_STATE_H_
#define VRAMPOOL_DAEMON_CORE_CORE_STATE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "daemon/core/peer.h"
#include "daemon/core/requests.h"
#include "daemon/core/settings.h"
#include "daemon/core/snapshot.h"

namespace vrampool {

struct TenantRecord {
  std::string path;
  Quota quota;  // As it was set, in the configuration or while running.
  Bytes peak;
  bool operator==(const TenantRecord&) const = default;
};

struct SessionRecord {
  SessionId id{};
  std::string tenant;
  PeerIdentity peer;
  Labels labels;
  SessionState state = SessionState::kLive;
  bool is_process_gone = false;
  absl::Time attached_at;
  std::string evicted_because;
  bool operator==(const SessionRecord&) const = default;
};

struct SlabRecord {
  SlabId id{};
  Bytes size;
  HandleKind kind{};
  SlabState state = SlabState::kClean;  // Never kCreating.
  absl::Time since;
  std::string tenant;    // Empty: never given to anybody.
  SessionId session{};   // Of leased and parked ones.
  LeaseId lease{};       // Of leased ones,
  LeaseRequest request;  // as is this, with the idempotency key.
  // Of all but clean ones; destroying: perhaps. Another than `tenant` only when
  // it had guests.
  std::string payer;
  bool was_mapped = false;         // As in Slab.
  bool is_spoiled = false;         // As in Slab,
  bool had_guests = false;         // and so is this.
  std::vector<SessionId> mappers;  // Ascending.
  bool operator==(const SlabRecord&) const = default;
};

struct ObjectRecord {
  ObjectId id{};
  ObjectSecret secret = {};
  std::string name;
  std::string tenant;
  std::vector<std::string> grants;
  SessionId producer{};
  bool producer_is_live = true;
  std::vector<BufferRef> buffers;
  std::string layout;
  std::string metadata;
  ObjectPhase phase = ObjectPhase::kLive;
  bool is_sealed = false;
  bool is_watched = false;
  std::vector<std::pair<SessionId, uint32_t>> holds;  // Ascending, counts > 0.
  absl::Time created_at;
  absl::Time last_opened_at;
  absl::Time expires_at = absl::InfiniteFuture();  // Else it has a name.
  bool operator==(const ObjectRecord&) const = default;
};

struct CoreState {
  Epoch epoch{};
  Bytes capacity;
  uint64_t last_session = 0;  // The highest ids ever given out.
  uint64_t last_slab = 0;
  uint64_t last_lease = 0;
  uint64_t last_ticket = 0;
  Bytes default_limit;                  // Of tenants without a limit.
  std::vector<TenantRecord> tenants;    // By path; the root is among them.
  std::vector<SessionRecord> sessions;  // By id, as are the following.
  std::vector<SlabRecord> slabs;
  std::vector<ObjectRecord> objects;
  std::vector<uint64_t> generations;  // By slot of the object table.
  Counters counters;
  bool operator==(const CoreState&) const = default;
};

// The quotas of the state's tenants for a pool that may have another size now:
// a root's limit that was all of the pool, or is more than it, is the pool.
std::vector<TenantSetting> QuotasToRestore(const CoreState& state,
                                           const CoreSettings& settings);

// OK if an Arbiter with these settings can go on from `state`. Errors as for
// Arbiter::Restore(); nothing in `state` can make this abort.
absl::Status CheckState(const CoreState& state, const CoreSettings& settings);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_CORE_STATE_H_
