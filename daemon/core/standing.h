// standing.h - where a request stands in the line, what it takes and what it
// lacks: the values that the Arbiter's line works with (see arbiter.h).
//
// Threads: values.

#ifndef VRAMPOOL_DAEMON_CORE_STANDING_H_
#define VRAMPOOL_DAEMON_CORE_STANDING_H_

#include <cstdint>

#include "daemon/core/ledger.h"
#include "daemon/core/snapshot.h"

namespace vrampool {

// The least is served first.
struct Place {
  bool is_burst = false;
  int32_t rank = 0;  // The negative of the priority.
  uint64_t account = 0;
  TicketId arrival{};
  auto operator<=>(const Place&) const = default;
};

// What a request takes that others may wait for.
enum class Takes {
  kRoomAndCredit,
  kRoom,    // A reservation.
  kCredit,  // A lease whose room is kept for its session.
};

// What a request lacks that cannot be served.
enum class Lack {
  kRoom,    // The pool's.
  kQuota,   // Its need would grow too far, of `tenant`.
  kCredit,  // Of a rate of `tenant`.
};
struct Stop {
  TenantId tenant{};
  Lack lack = Lack::kRoom;
  bool operator==(const Stop&) const = default;
};

struct Standing {
  Place place;
  Stop stop;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_STANDING_H_
