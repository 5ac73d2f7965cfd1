// ticket.h - what the Arbiter keeps of a request that has no answer yet, and of
// room that is held before it is asked for.
//
// Threads: values; each Charge belongs to the Arbiter's Ledger.

#ifndef VRAMPOOL_DAEMON_CORE_TICKET_H_
#define VRAMPOOL_DAEMON_CORE_TICKET_H_

#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "daemon/core/ledger.h"
#include "daemon/core/requests.h"
#include "daemon/core/snapshot.h"

namespace vrampool {

struct Reservation {
  ReservationId id{};
  SessionId session{};
  HandleKind kind{};
  Charge charge;  // What is left of it; never nothing.
  absl::Time expires_at;
};
enum class TicketState { kWaiting, kAssured, kCreating };
struct Ticket {
  TicketId id{};
  SessionId session{};
  TenantId tenant{};
  LeaseRequest request;
  HandleKind kind{};
  Bytes size;  // Rounded up.
  absl::Time since;
  TicketState state = TicketState::kWaiting;
  Charge charge;            // Taken unless kWaiting.
  bool is_covered = false;  // By a guarantee, when the charge was taken.
  bool is_overdue = false;  // Its time is up: it must not wait again.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_TICKET_H_
