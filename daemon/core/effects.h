// effects.h - what must happen outside the core because of what it decided.
//
// The Arbiter never acts: its calls append to an Effects, and the Broker
// carries the list out after it has let go of its lock. What comes back (a slab
// was created, or was not) are further calls of the Arbiter.

#ifndef VRAMPOOL_DAEMON_CORE_EFFECTS_H_
#define VRAMPOOL_DAEMON_CORE_EFFECTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "daemon/core/requests.h"
#include "daemon/core/snapshot.h"

namespace vrampool {

struct Effects {
  struct Create {
    SlabId slab;
    Bytes size;
    HandleKind kind;
  };
  struct Settled {
    TicketId ticket;
    absl::StatusOr<LeaseGrant> outcome;
  };
  struct Reclaim {
    SessionId session;
    Bytes bytes;
  };
  struct Evict {
    SessionId victim;
    Bytes charged;
    SessionId beneficiary;  // Who waits for it.
    std::string why;        // For people.
  };
  struct Ended {
    SessionId producer;
    ObjectId object;
  };
  struct Known {
    SessionId opener;
    ObjectId object;
  };

  struct Gone {
    SessionId producer;  // It may have ended.
    std::string tenant;
    ObjectId object;
    Bytes size;
  };

  std::vector<Create> create;    // Then Arbiter::OnCreated().
  std::vector<SlabId> destroy;   // Then Arbiter::OnDestroyed().
  std::vector<Settled> settled;  // Tickets that have their answer.
  std::vector<Reclaim> reclaim;  // Ask these clients for memory.
  std::vector<Evict> evict;      // Condemned already: end these by force.
  std::vector<Ended> ended;      // Tell these producers.
  std::vector<Gone> gone;        // All objects that ended: for who watches.
  // Tell these, who opened pending objects: they are live or broken now.
  std::vector<Known> known;
  bool objects_changed = false;  // Who waits for an object should look again.
  bool room_changed = false;     // Likewise for room.
  bool device_changed = false;   // Ask the device again what it has to give.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_EFFECTS_H_
