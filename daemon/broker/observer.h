// observer.h - whoever wants to know what happens in the broker.
//
// Broker and LoggedBroker tell one Observer; it hands events on to watchers and
// counts for metrics (daemon/observe). Nothing that an event says is secret: no
// token, no handle.
//
// Threads: called from any thread, never under a lock of the caller's; must not
// block.

#ifndef VRAMPOOL_DAEMON_BROKER_OBSERVER_H_
#define VRAMPOOL_DAEMON_BROKER_OBSERVER_H_

#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/ids.h"

namespace vrampool {

// Values equal those of vrampool.v1.Event.Kind (a test in service compares
// them).
enum class EventKind {
  kWatching = 1,  // A watcher's first: what happens from now on, it sees.
  kSessionAttached = 2,
  kSessionRefused = 3,
  kSessionCondemned = 4,
  kSessionEnded = 5,
  kLeaseGranted = 6,
  kLeaseReturned = 7,
  kLeaseRefused = 8,
  kObjectShared = 9,
  kObjectEnded = 10,
  kQuotaChanged = 11,
  kReclaimAsked = 12,
  kDeviceHealth = 13,
  kCallRefused = 14,     // Other than a lease: by a quota, a bound, a rate, or
                         // for want of a right. The text names the call.
  kConfigReloaded = 15,  // Or not: then with why.
  kRoomReserved = 16,
  kAlertRaised = 17,
  kAlertEnded = 18,
  kObjectOpened = 19,  // By another tenant's session; the text is the owner.
};

struct Event {
  EventKind kind{};
  absl::Time at = {};
  std::string tenant = {};  // Empty: not of a tenant, or as the session's.
  SessionId session{};
  pid_t pid = 0;
  std::optional<uid_t> uid = {};
  LeaseId lease{};
  SlabId slab{};
  ObjectId object{};
  Bytes bytes = {};  // Of the lease, the object; asked for; the new limit.
  std::string alert = {};  // Its name: "used", "growth", ...
  std::string text = {};
  absl::Status refusal = {};  // Of what was refused; ok otherwise.
};

enum class Operation {
  kLease,
  kReturn,
  kShare,
  kOpen,
  kClose,
  kWait,     // For room or a name.
  kCreate,   // Of a slab, by the device.
  kDestroy,  // Likewise.
  kCall,     // Any, refused before it began: not timed.
  kAttach,   // Refused, by the policy or a bound: likewise.
};
inline constexpr int kOperations = 8;  // That are timed.

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnEvent(Event event) = 0;
  virtual void OnDone(Operation operation, absl::Duration took,
                      const absl::Status& outcome) = 0;
  // What was refused before it was begun.
  virtual void OnRefused(Operation operation, const absl::Status& refusal) = 0;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_BROKER_OBSERVER_H_
