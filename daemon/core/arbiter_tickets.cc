// Requests that wait, and in which order they are served: see arbiter.h.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {

Arbiter::Ticket& Arbiter::AddTicket(Session& session,
                                    const LeaseRequest& request,
                                    HandleKind kind, Bytes size) {
  const TicketId id{++last_ticket_};
  Ticket ticket;
  ticket.id = id;
  ticket.session = session.id;
  ticket.tenant = session.tenant;
  ticket.request = request;
  ticket.kind = kind;
  ticket.size = size;
  session.tickets_by_key[request.key] = id;
  return tickets_.emplace(id, std::move(ticket)).first->second;
}

void Arbiter::EraseTicket(TicketId id) {
  const auto found = tickets_.find(id);
  Session& session = *Find(found->second.session);
  session.tickets_by_key.erase(found->second.request.key);
  tickets_.erase(found);
}

void Arbiter::Settle(Ticket& ticket, absl::StatusOr<LeaseGrant> outcome,
                     Effects& effects) {
  if (!outcome.ok()) outcome = CountRefusal(outcome.status());
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
  EraseTicket(id);
  effects.room_changed = true;
  Pump(now, effects);
  Refill(now, effects);
  return true;
}

absl::Status Arbiter::WaitedOut(TicketId id) const {
  const Ticket& ticket = tickets_.at(id);
  const TenantId tenant =
      QuotaInTheWay(ticket.tenant, ticket.size).value_or(ticket.tenant);
  return Refuse(
      {.reason = Reason::kWaitedOut,
       .subject = ledger_.path(tenant),
       .asked = ticket.request.size,
       .charged = ticket.size,
       .used = ledger_.used(tenant),
       .limit = ledger_.limit(tenant),
       .largest_free = to_give()},
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

void Arbiter::Pump(absl::Time now, Effects& effects) {
  // Served tickets leave the map, so walk over the ids.
  std::vector<TicketId> ids;
  ids.reserve(tickets_.size());
  for (const auto& [id, ticket] : tickets_) ids.push_back(id);
  Line line;
  for (const TicketId id : ids) PumpOne(tickets_.at(id), line, now, effects);
}

void Arbiter::PumpOne(Ticket& ticket, Line& line, absl::Time now,
                      Effects& effects) {
  if (ticket.state == TicketState::kCreating) return;
  if (ticket.state == TicketState::kAssured) {
    // Only an assured one before it has a better right to what is free now:
    // the room of those that wait is what is left when all promises are kept.
    if (!line.is_start_late && free() >= ticket.size) {
      StartCreate(ticket, now, effects);
    } else {
      line.is_start_late = true;
    }
    return;
  }
  Session& session = *Find(ticket.session);
  if (auto grant =
          TryParked(session, ticket.request, ticket.kind, ticket.size, now)) {
    Settle(ticket, *std::move(grant), effects);
    return;
  }
  if (IsStopped(ticket.tenant, line)) return;
  if (auto grant =
          TryClean(session, ticket.request, ticket.kind, ticket.size, now)) {
    Settle(ticket, *std::move(grant), effects);
    return;
  }
  absl::StatusOr<Charge> charge =
      ledger_.Take(ticket.tenant, ticket.size, ticket.request.size);
  if (charge.ok()) {
    ticket.charge = *std::move(charge);
    if (TryRoom(ticket, now, effects)) {
      line.is_start_late |= ticket.state == TicketState::kAssured;
      effects.room_changed = true;  // It stops nobody any more.
      return;
    }
    ticket.charge = Charge();
  }
  line.stopped.push_back(StoppedBy(ticket));
}

TenantId Arbiter::StoppedBy(const Ticket& ticket) const {
  return ledger_.Obstacle(ticket.tenant, ticket.size).value_or(Ledger::kRoot);
}

bool Arbiter::IsStopped(TenantId tenant, const Line& line) const {
  return std::any_of(
      line.stopped.begin(), line.stopped.end(),
      [&](TenantId stopped) { return ledger_.IsWithin(tenant, stopped); });
}

bool Arbiter::IsOvertaking(TenantId tenant) const {
  Line line;
  for (const auto& [id, ticket] : tickets_) {
    if (ticket.state != TicketState::kWaiting) continue;
    // One that is stopped itself adds nothing: it waits for the other.
    if (IsStopped(ticket.tenant, line)) continue;
    line.stopped.push_back(StoppedBy(ticket));
  }
  return IsStopped(tenant, line);
}

void Arbiter::TakeBackPromises(Effects& effects) {
  while (SaturatingSub(pool_.free() + pool_.coming(), missing_) < promised()) {
    auto latest = tickets_.rbegin();
    while (latest->second.state != TicketState::kAssured) ++latest;
    Ticket& ticket = latest->second;
    ticket.state = TicketState::kWaiting;
    ticket.charge = Charge();
    // Its caller was told that the answer comes soon.
    if (ticket.is_overdue) Settle(ticket, WaitedOut(ticket.id), effects);
  }
}

// Asks those for memory who could help: the tenants under the limit that is in
// the way, or everybody when the pool is what lacks.
void Arbiter::AskForMemory(const Ticket& ticket, Effects& effects) {
  const TenantId scope = StoppedBy(ticket);
  for (auto& [id, session] : sessions_) {
    if (session.state != SessionState::kLive || session.is_asked) continue;
    if (id == ticket.session || session.leases.empty()) continue;
    if (!ledger_.IsWithin(session.tenant, scope)) continue;
    session.is_asked = true;
    effects.reclaim.push_back({id, ticket.size});
  }
}

absl::Status Arbiter::RefuseForRoom(Bytes asked, Bytes size) {
  const Bytes largest = to_give();
  const std::string lacking =
      missing_.is_zero()
          ? ""
          : absl::StrCat(" (", FormatBytes(missing_),
                         " of it is taken by others on the device)");
  return Refuse(
      {.reason = Reason::kPoolExhausted,
       .subject = "pool",
       .asked = asked,
       .charged = size,
       .used = SaturatingSub(settings_.capacity, largest),
       .limit = settings_.capacity,
       .largest_free = largest,
       .retry_after = absl::Milliseconds(100)},
      absl::StrCat("the pool has ", FormatBytes(largest), " of ",
                   FormatBytes(settings_.capacity), lacking, " to give and ",
                   tickets_.size(), " requests before this one; ",
                   FormatBytes(size),
                   " do not fit. Wait (wait_ms), ask for less, or let others "
                   "give back."));
}

absl::Status Arbiter::CountRefusal(absl::Status status) {
  const std::optional<Refusal> refusal = RefusalOf(status);
  if (!refusal.has_value()) return status;
  if (refusal->reason == Reason::kQuotaExceeded) ++counters_.refused_quota;
  if (refusal->reason == Reason::kPoolExhausted) ++counters_.refused_pool;
  return status;
}

Bytes Arbiter::promised() const {
  Bytes sum;
  for (const auto& [id, ticket] : tickets_) {
    if (ticket.state == TicketState::kAssured) sum += ticket.size;
  }
  return sum;
}

Bytes Arbiter::room() const {
  return SaturatingSub(pool_.free() + pool_.coming() + pool_.clean(), missing_);
}

Bytes Arbiter::free() const { return SaturatingSub(pool_.free(), missing_); }

Bytes Arbiter::to_give() const {
  return SaturatingSub(pool_.free() + pool_.clean(), missing_);
}

std::optional<TenantId> Arbiter::QuotaInTheWay(TenantId tenant,
                                               Bytes size) const {
  const std::optional<TenantId> obstacle = ledger_.Obstacle(tenant, size);
  if (obstacle == Ledger::kRoot &&
      ledger_.limit(Ledger::kRoot) >= settings_.capacity) {
    return std::nullopt;
  }
  return obstacle;
}

}  // namespace vrampool
