// snapshot.h - the whole state of a broker at one moment, as plain values.
//
// Taken once, under the broker's lock, and read by everything that reports: the
// admin service, metrics, tests. All numbers in one snapshot fit together.

#ifndef VRAMPOOL_DAEMON_CORE_SNAPSHOT_H_
#define VRAMPOOL_DAEMON_CORE_SNAPSHOT_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "daemon/core/alert_rules.h"
#include "daemon/core/peer.h"
#include "daemon/core/quota.h"
#include "daemon/core/requests.h"

namespace vrampool {

// A lease request that could not be answered at once.
enum class TicketId : uint64_t {};

// Where a slab is in its life; see docs/design.md for the picture. The order is
// that of the counters in PoolUsage.
enum class SlabState {
  kCreating,
  kClean,  // On the device, nobody's or one tenant's; not charged.
  kLeased,
  kParked,  // Given back while mapped; for the same session only.
  kKept,    // Its lessee has ended; objects in it live on.
  kDestroying,
  kLingering,  // Destroyed, but a former holder may still map it.
};
inline constexpr int kSlabStates = 7;
const char* SlabStateName(SlabState state);

enum class SessionState { kLive, kCondemned, kEnded };
const char* SessionStateName(SessionState state);

enum class ObjectPhase { kPending, kLive, kBroken };
const char* ObjectPhaseName(ObjectPhase phase);

struct PoolUsage {
  Bytes capacity;
  Bytes free;  // In no slab.
  Bytes by_state[kSlabStates];
  Bytes of(SlabState state) const { return by_state[static_cast<int>(state)]; }
};

struct SessionView {
  SessionId id{};
  std::string tenant;
  PeerIdentity peer;
  Labels labels;
  SessionState state = SessionState::kLive;
  absl::Time attached_at;
  Bytes charged;    // Of slabs that it leases or has parked.
  Bytes lingering;  // Of destroyed slabs that it may still map.
  uint64_t leases = 0;
  uint64_t holds = 0;
};

// An alert that somebody asked for; see alert_book.h. Values in the kind's
// unit.
struct AlertView {
  AlertKind kind{};
  bool is_raised = false;
  absl::Time since = {};  // It was raised, if it is.
  uint64_t value = 0;     // As measured last.
  uint64_t threshold = 0;
  bool operator==(const AlertView&) const = default;
};

struct TenantView {
  std::string path;
  Bytes limit;
  Bytes guarantee = {};  // The root's is zero.
  Bytes used;            // Its own and its descendants'.
  Bytes opened = {};     // Others' memory that they have open: see ledger.h.
  Bytes available;       // As quotas go: the pool may have less.
  Bytes covered = {};    // Of that: by guarantees. The rest is burst.
  Bytes burst = {};      // Of used: beyond all guarantees.
  Bytes peak;
  Bytes clean;  // Its own clean slabs.
  uint64_t sessions = 0;
  int32_t priority = 0;
  uint32_t weight = 1;
  bool lends = false;
  bool evictable = false;
  std::array<Rate, kRateKinds> rates = {};  // Its own; by RateKind.
  // Of it and its descendants, likewise:
  Bytes lingering = {};   // Destroyed slabs that somebody may still map.
  uint64_t refusals = 0;  // Of requests for memory, and calls, since start.
  uint64_t leaks = 0;     // Reports of sessions that left something, likewise.
  // The oldest lease request that waits for room began to; InfiniteFuture: none
  // waits.
  absl::Time waiting_since = absl::InfiniteFuture();
  std::optional<Bytes> live = {};  // In blocks, by the clients' word, if read.
  std::vector<AlertView> alerts = {};
};

struct SlabView {
  SlabId id{};
  LeaseId lease{};      // 0 when not leased.
  SessionId session{};  // Lessee, or who parked it; 0 when none.
  std::string tenant;   // Whose it is. Empty: never given to anybody.
  std::string payer;    // Who is charged; empty: nobody.
  Bytes size;
  HandleKind kind{};
  SlabState state{};
  absl::Time since;
  uint64_t objects = 0;
  std::vector<SessionId> mapped_by;  // Who may still map it.
};

// A lease request that waits for room or for a quota; not one that only waits
// for the device.
struct WaitingView {
  TicketId ticket{};
  SessionId session{};
  std::string tenant;
  Bytes size;             // Rounded up.
  bool is_burst = false;  // Beyond guarantees, or counted so: see arbiter.h.
  int32_t priority = 0;
  absl::Time since;
};

struct ReservationView {
  ReservationId id{};
  SessionId session{};
  std::string tenant;
  Bytes left;  // Not leased yet.
  HandleKind kind{};
  absl::Time expires_at;
};

struct ObjectView {
  ObjectId id{};
  std::string name;
  std::string tenant;
  std::vector<std::string> grants;  // To other tenants: their paths.
  SessionId producer{};
  bool producer_is_live = false;  // And has not given its memory back.
  Bytes size;
  uint32_t buffers = 0;
  std::vector<SessionId> holders;  // One entry per hold taken by call.
  ObjectPhase phase{};
  absl::Time created_at;
  absl::Time last_opened_at;  // InfinitePast: never.
  absl::Time expires_at;      // InfiniteFuture: never.
  bool is_sealed = false;
  uint64_t metadata_bytes = 0;
  std::string layout;  // As given to Share: opaque here.
};

struct Counters {
  uint64_t leases_granted = 0;
  uint64_t refused_quota = 0;
  uint64_t refused_pool = 0;
  uint64_t refused_rate = 0;
  uint64_t sessions_attached = 0;
  uint64_t conservation_breaches = 0;
  uint64_t evictions = 0;
  bool operator==(const Counters&) const = default;
};

// Of how much a snapshot is taken: the rest of it is empty.
enum class SnapshotScope {
  kWhole,
  kTenants,  // The pool, the tenants and the counters: for a frequent look.
};

struct Snapshot {
  Epoch epoch{};
  absl::Time taken_at;
  PoolUsage pool;
  Bytes missing;  // Of the free bytes: the device has them not to give.
  bool conservation_holds = true;
  std::vector<SessionView> sessions;
  std::vector<TenantView> tenants;  // Parents before children.
  std::vector<SlabView> slabs;
  std::vector<ObjectView> objects;
  std::vector<ReservationView> reservations;
  uint64_t waiting = 0;           // Requests without an answer.
  std::vector<WaitingView> line;  // Of these, in the order to be served.
  Counters counters;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_SNAPSHOT_H_
