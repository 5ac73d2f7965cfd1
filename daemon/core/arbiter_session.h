// arbiter_session.h - what the Arbiter knows of one session.
//
// Threads: not thread-safe. The Arbiter owns it.

#ifndef VRAMPOOL_DAEMON_CORE_ARBITER_SESSION_H_
#define VRAMPOOL_DAEMON_CORE_ARBITER_SESSION_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "daemon/core/ledger.h"
#include "daemon/core/peer.h"
#include "daemon/core/requests.h"
#include "daemon/core/snapshot.h"
#include "daemon/core/spent_keys.h"

namespace vrampool {

struct ArbiterSession {
  SessionId id{};
  TenantId tenant{};
  PeerIdentity peer;
  Labels labels;
  SessionState state = SessionState::kLive;
  bool is_process_gone = false;
  absl::Time attached_at;
  absl::flat_hash_map<LeaseId, SlabId> leases;
  std::map<IdempotencyKey, LeaseId> leases_by_key;
  std::map<IdempotencyKey, TicketId> tickets_by_key;
  SpentKeys spent_keys;
  absl::flat_hash_set<SlabId> parked;
  absl::flat_hash_set<SlabId> mapped;
  absl::flat_hash_set<ObjectId> held;      // By call.
  uint32_t holds = 0;                      // Sum of the counts.
  absl::flat_hash_set<ObjectId> produced;  // And still existing.
  bool is_asked = false;  // For memory, since it last gave any back.
  std::set<ReservationId> reservations;
  std::string evicted_because;  // Empty: it was not.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_ARBITER_SESSION_H_
