// Requests that wait, and in which order they are served: see arbiter.h.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {

Ticket& Arbiter::AddTicket(Session& session, const LeaseRequest& request,
                           HandleKind kind, Bytes size, absl::Time now) {
  const TicketId id{++last_ticket_};
  Ticket ticket;
  ticket.id = id;
  ticket.session = session.id;
  ticket.tenant = session.tenant;
  ticket.request = request;
  ticket.kind = kind;
  ticket.size = size;
  ticket.since = now;
  session.tickets_by_key[request.key] = id;
  turns_.Join(session.tenant);
  return tickets_.emplace(id, std::move(ticket)).first->second;
}

void Arbiter::EraseTicket(TicketId id) {
  const auto found = tickets_.find(id);
  Session& session = *Find(found->second.session);
  session.tickets_by_key.erase(found->second.request.key);
  if (found->second.state == TicketState::kWaiting) {
    turns_.Leave(session.tenant);
  } else if (found->second.state == TicketState::kAssured) {
    assured_ -= found->second.size;
  }
  tickets_.erase(found);
}

void Arbiter::Settle(Ticket& ticket, absl::StatusOr<LeaseGrant> outcome,
                     Effects& effects) {
  if (!outcome.ok()) outcome = CountRefusal(ticket.tenant, outcome.status());
  if (!outcome.ok() && ticket.state != TicketState::kWaiting) {
    rates_.GiveBack(ticket.tenant, AmountsOfLease(ticket.size));
  }
  if (ticket.state == TicketState::kCreating) {
    // A slab that is being made for it becomes clean instead; see OnCreated().
    for (auto at = creating_.begin(); at != creating_.end(); ++at) {
      if (at->second != ticket.id) continue;
      creating_.erase(at);
      break;
    }
  }
  const TicketId id = ticket.id;
  effects.settled.push_back({id, std::move(outcome)});
  effects.room_changed = true;  // Those behind it are nearer now.
  EraseTicket(id);
}

bool Arbiter::CancelTicket(TicketId id, absl::Time now, Effects& effects) {
  const auto found = tickets_.find(id);
  if (found == tickets_.end()) return false;  // Settled already.
  if (found->second.state != TicketState::kWaiting) {
    found->second.is_overdue = true;
    return false;
  }
  ++refusals_[found->second.tenant];  // Its caller says so, not Settle().
  EraseTicket(id);
  effects.room_changed = true;
  Pump(now, effects);
  Refill(now, effects);
  return true;
}

absl::Status Arbiter::WaitedOut(TicketId id, absl::Time now) const {
  const Ticket& ticket = tickets_.at(id);
  if (StopOf(ticket, now).lack == Lack::kCredit) {
    return FitsLater(ticket.tenant, ticket.request.size, ticket.size, id, now);
  }
  const TenantId tenant =
      QuotaInTheWay(ticket.tenant, ticket.size).value_or(ticket.tenant);
  return Refuse(
      {.reason = Reason::kWaitedOut,
       .subject = ledger_.path(tenant),
       .asked = ticket.request.size,
       .charged = ticket.size,
       .used = ledger_.used(tenant),
       .limit = ledger_.limit(tenant),
       .largest_free = to_give(),
       .guarantee = ledger_.guarantee(ticket.tenant)},
      absl::StrCat("no room for ", FormatBytes(ticket.size),
                   " came free in time: tenant ", ledger_.path(tenant),
                   " is at ", FormatBytes(ledger_.used(tenant)), " of ",
                   FormatBytes(ledger_.limit(tenant)), ", the pool has ",
                   FormatBytes(to_give()), " to give"));
}

absl::Status Arbiter::NamingHolder(absl::Status refusal) const {
  std::optional<Refusal> details = RefusalOf(refusal);
  if (!details.has_value() || details->reason != Reason::kQuotaExceeded) {
    return refusal;
  }
  const std::optional<TenantId> scope = ledger_.Find(details->subject);
  const Session* largest = nullptr;
  Bytes most;
  for (const auto& [id, session] : sessions_) {
    if (!scope.has_value() || !ledger_.IsWithin(session.tenant, *scope)) {
      continue;
    }
    const Bytes charged = ChargedTo(session);
    const bool is_first = charged == most && largest != nullptr &&
                          session.id < largest->id;  // Of equals.
    if (charged > most || is_first) largest = &session;
    most = std::max(most, charged);
  }
  if (largest == nullptr) return refusal;
  details->largest_holder =
      absl::StrCat("session ", static_cast<uint64_t>(largest->id), " (pid ",
                   largest->peer.pid, ") with ", FormatBytes(most));
  const std::string text =
      absl::StrCat(refusal.message(), " The largest holder is ",
                   details->largest_holder, ".");
  return Refuse(*std::move(details), text);
}

absl::Status Arbiter::RefuseForRoom(TenantId tenant, Bytes asked,
                                    Bytes size) const {
  const Bytes largest = std::min(to_give(), RoomFor(tenant));
  const std::string lacking =
      missing_.is_zero()
          ? ""
          : absl::StrCat(" (", FormatBytes(missing_),
                         " of it is taken by others on the device)");
  const std::string kept =
      ledger_.unfilled().is_zero()
          ? ""
          : absl::StrCat(", with ", FormatBytes(ledger_.unfilled()),
                         " kept for guarantees,");
  return Refuse(
      {.reason = Reason::kPoolExhausted,
       .subject = "pool",
       .asked = asked,
       .charged = size,
       .used = SaturatingSub(settings_.capacity, to_give()),
       .limit = settings_.capacity,
       .largest_free = largest,
       .guarantee = ledger_.guarantee(tenant),
       .retry_after = absl::Milliseconds(100)},
      absl::StrCat("the pool has ", FormatBytes(largest), " of ",
                   FormatBytes(settings_.capacity), lacking, " to give", kept,
                   " and ", tickets_.size(), " requests before this one; ",
                   FormatBytes(size),
                   " do not fit. Wait (wait_ms), ask for less, or let others "
                   "give back."));
}

absl::Status Arbiter::CountRefusal(TenantId tenant, absl::Status status) {
  const std::optional<Refusal> refusal = RefusalOf(status);
  if (!refusal.has_value()) return status;
  // Not what was asked wrongly, and not the end of the session or the daemon.
  if (absl::IsResourceExhausted(status) ||
      refusal->reason == Reason::kWaitedOut) {
    ++refusals_[tenant];
  }
  if (refusal->reason == Reason::kQuotaExceeded) ++counters_.refused_quota;
  if (refusal->reason == Reason::kPoolExhausted) ++counters_.refused_pool;
  if (refusal->reason == Reason::kRateLimited) ++counters_.refused_rate;
  return status;
}

bool Arbiter::BurstsUnreclaimably(TenantId tenant, HandleKind kind,
                                  Bytes size) const {
  return kind == HandleKind::kCudaIpc && ledger_.has_guarantees() &&
         !ledger_.resolved(tenant).unreclaimable_burst &&
         !ledger_.IsCovered(tenant, size);
}

absl::Status Arbiter::RefuseBurst(TenantId tenant, Bytes asked,
                                  Bytes size) const {
  return Refuse(
      {.reason = Reason::kUnreclaimableBurst,
       .subject = ledger_.path(tenant),
       .asked = asked,
       .charged = size,
       .used = ledger_.used(tenant),
       .limit = ledger_.limit(tenant),
       .largest_free = ledger_.covered(tenant),
       .guarantee = ledger_.guarantee(tenant)},
      absl::StrCat(
          "tenant ", ledger_.path(tenant), " is at ",
          FormatBytes(ledger_.used(tenant)), "; ", FormatBytes(size),
          " more would go beyond its guarantee of ",
          FormatBytes(ledger_.guarantee(tenant)),
          ", and memory of kind CUDA_IPC cannot be got back from a busy "
          "process. Use VMM_FD (VRAMPOOL_KIND), give back memory of this "
          "tenant, or set unreclaimable_burst in the configuration."));
}

Bytes Arbiter::RoomFor(TenantId tenant) const {
  const Bytes left = SaturatingSub(room(), promised());
  const Bytes unfilled = ledger_.unfilled();
  if (unfilled.is_zero()) return left;
  // Of what is claimed and not used, this tenant may use what it or those above
  // it claim.
  const Bytes capacity = settings_.capacity;
  const Bytes own = capacity - ledger_.Growth(tenant, capacity, Ledger::kRoot);
  const Bytes beyond = SaturatingSub(left + own, unfilled);
  return std::min(left, std::max(ledger_.covered(tenant), beyond));
}

Bytes Arbiter::promised() const { return assured_ + reserved_; }

Bytes Arbiter::room() const {
  return SaturatingSub(pool_.free() + pool_.coming() + pool_.clean(), missing_);
}

Bytes Arbiter::free() const { return SaturatingSub(pool_.free(), missing_); }

Bytes Arbiter::to_give() const {
  return SaturatingSub(pool_.free() + pool_.clean(), missing_);
}

std::optional<TenantId> Arbiter::QuotaInTheWay(TenantId tenant,
                                               Bytes size) const {
  const std::optional<Obstacle> obstacle = ledger_.FindObstacle(tenant, size);
  if (!obstacle.has_value()) return std::nullopt;
  if (obstacle->tenant == Ledger::kRoot &&
      ledger_.limit(Ledger::kRoot) >= settings_.capacity) {
    return std::nullopt;
  }
  return obstacle->tenant;
}

}  // namespace vrampool
