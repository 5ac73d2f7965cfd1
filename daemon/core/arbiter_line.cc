// In which order requests that wait are served, and which of them stops which:
// see arbiter.h.
//
// The line. Tickets that wait are served in this order: those that a guarantee
// covers before those that burst; then by their tenants' priority, the highest
// first; then by their tenants' turns (turns.h), least given for their weight
// first; within a tenant, first come, first served. The first that lacks
// something stops all after it that would take of that: whatever comes free
// there collects for it, so a large request is not starved by small ones.
//   - one that a tenant's limit stops (its own, or that of one above), or what
//     is kept for guarantees there, stops those that would make that tenant
//     need more: a request that a guarantee below it covers does not
//   - one that only a rate stops (rates.h) stops those under it, and keeps no
//     room from others
//   - one for which the pool lacks room stops all
// And a request within a guarantee that would take from under a limit what an
// earlier burst waits for there counts as a burst: else small requests within
// the guarantee would starve a large one of the same tenant. Likewise it leaves
// the credit of a rate to an earlier burst that waits for nothing else.
// A request that may not wait never overtakes: it is refused where a ticket in
// its place would be stopped. (A parked slab and a reservation are room for
// nobody else: who takes it passes those only that wait for a rate.) Of those
// with the same priority nobody starves; a tenant of lower priority waits as
// long as those of higher priority ask for more than there is.

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {

uint64_t Arbiter::CostOf(TenantId tenant, Bytes size) const {
  const uint64_t granules = size.count() / settings_.granule.count();
  const uint64_t weight = ledger_.resolved(tenant).weight;
  return (granules * kMaxWeight + weight - 1) / weight;
}

Place Arbiter::PlaceOf(TenantId tenant, Bytes size, TicketId arrival) const {
  return {.is_burst = !ledger_.IsCovered(tenant, size),
          .rank = -ledger_.resolved(tenant).priority,
          .account = turns_.AccountOf(tenant),
          .arrival = arrival};
}

Takes Arbiter::TakesOf(const Session& session, HandleKind kind,
                       Bytes size) const {
  const bool has_room = FindParked(session, kind, size) != nullptr ||
                        FindReservation(session, kind, size) != nullptr;
  return has_room ? Takes::kCredit : Takes::kRoomAndCredit;
}

Takes Arbiter::TakesOf(const Ticket& ticket) const {
  return TakesOf(sessions_.at(ticket.session), ticket.kind, ticket.size);
}

Stop Arbiter::StopOf(const Ticket& ticket, absl::Time now) const {
  const TenantId tenant = ticket.tenant;
  const Session& session = sessions_.at(ticket.session);
  if (rates_.IsBounded(tenant) &&
      (TakesOf(ticket) == Takes::kCredit ||
       HasRoom(session, ticket.kind, ticket.size))) {
    // Where it lacks credit; if it lacks none, wherever it will take some.
    const auto credit = CreditLacking(tenant, ticket.size, now);
    return {.tenant = credit ? credit->tenant : rates_.WidestBound(tenant),
            .lack = Lack::kCredit};
  }
  const std::optional<Obstacle> obstacle =
      ledger_.FindObstacle(tenant, ticket.size);
  if (obstacle.has_value()) {
    return {.tenant = obstacle->tenant, .lack = Lack::kQuota};
  }
  return {.tenant = Ledger::kRoot, .lack = Lack::kRoom};
}

bool Arbiter::Stops(const Stop& stop, TenantId tenant, Bytes size,
                    Takes takes) const {
  switch (stop.lack) {
    case Lack::kRoom:
      return takes != Takes::kCredit;
    case Lack::kQuota:
      return takes != Takes::kCredit &&
             !ledger_.Growth(tenant, size, stop.tenant).is_zero();
    case Lack::kCredit:
      return takes != Takes::kRoom && ledger_.IsWithin(tenant, stop.tenant);
  }
  return true;
}

bool Arbiter::IsStopped(TenantId tenant, Bytes size, Takes takes,
                        const std::vector<Stop>& stops) const {
  return std::any_of(stops.begin(), stops.end(), [&](const Stop& stop) {
    return Stops(stop, tenant, size, takes);
  });
}

bool Arbiter::IsStopped(const Ticket& ticket,
                        const std::vector<Stop>& stops) const {
  return !stops.empty() &&
         IsStopped(ticket.tenant, ticket.size, TakesOf(ticket), stops);
}

// A request within a guarantee comes before those that burst, except that it
// must not take from under a limit what an earlier one waits for there: small
// requests would keep a large one of their own tenant waiting for ever. These
// are the limits.
void Arbiter::NoteLimit(const Place& place, const Stop& stop,
                        std::vector<Stop>& limits) const {
  if (!place.is_burst || stop.lack != Lack::kQuota ||
      stop.tenant == Ledger::kRoot) {
    return;
  }
  if (std::find(limits.begin(), limits.end(), stop) == limits.end()) {
    limits.push_back(stop);
  }
}

std::vector<Standing> Arbiter::LineUp(std::vector<Stop>& limits,
                                      absl::Time now) const {
  std::vector<Standing> line;
  for (const auto& [id, ticket] : tickets_) {
    if (ticket.state != TicketState::kWaiting) continue;
    Standing standing{.place = PlaceOf(ticket.tenant, ticket.size, id),
                      .stop = StopOf(ticket, now)};
    standing.place.is_burst |= IsStopped(ticket, limits);
    NoteLimit(standing.place, standing.stop, limits);
    line.push_back(standing);
  }
  std::sort(line.begin(), line.end(), [](const Standing& a, const Standing& b) {
    return a.place < b.place;
  });
  return line;
}

// Likewise for the credit of a rate; but there only for the credit, or a burst
// that waits for room would be in the way of a guarantee. These bursts wait for
// nothing but credit, and are the next to have it.
std::vector<Standing> Arbiter::CreditClaims(
    const std::vector<Standing>& line) const {
  std::vector<Standing> claims;
  std::vector<Stop> stops;
  for (const Standing& standing : line) {
    if (IsStopped(tickets_.at(standing.place.arrival), stops)) continue;
    const bool is_for_credit = standing.stop.lack == Lack::kCredit;
    if (is_for_credit && !standing.place.is_burst) continue;
    stops.push_back(standing.stop);
    if (is_for_credit) claims.push_back(standing);
  }
  return claims;
}

const Standing* Arbiter::FindClaim(const Place& place, TenantId tenant,
                                   const std::vector<Standing>& claims) const {
  if (place.is_burst) return nullptr;  // Then the line's order is enough.
  Place as_burst = place;
  as_burst.is_burst = true;
  for (const Standing& claim : claims) {
    if (claim.place.arrival < place.arrival && claim.place < as_burst &&
        ledger_.IsWithin(tenant, claim.stop.tenant)) {
      return &claim;
    }
  }
  return nullptr;
}

std::optional<Stop> Arbiter::FindOvertaken(TenantId tenant, Bytes size,
                                           Takes takes, absl::Time now) const {
  if (turns_.waiting() == 0) return std::nullopt;
  std::vector<Stop> limits;
  const std::vector<Standing> line = LineUp(limits, now);
  Place place = PlaceOf(tenant, size, TicketId{last_ticket_ + 1});
  place.is_burst |= IsStopped(tenant, size, takes, limits);
  std::vector<Stop> stops;
  for (const Standing& standing : line) {
    if (place < standing.place) break;
    const Ticket& ticket = tickets_.at(standing.place.arrival);
    // One that is stopped itself adds nothing: it waits for the other.
    if (IsStopped(ticket, stops)) continue;
    stops.push_back(standing.stop);
  }
  // Room is what to name if it lacks: credit comes with time.
  std::optional<Stop> overtaken;
  for (const Stop& stop : stops) {
    if (!Stops(stop, tenant, size, takes)) continue;
    if (!overtaken || stop.lack != Lack::kCredit) overtaken = stop;
  }
  if (!overtaken && takes != Takes::kRoom) {
    const std::vector<Standing> claims = CreditClaims(line);
    const Standing* const claim = FindClaim(place, tenant, claims);
    if (claim != nullptr) overtaken = claim->stop;
  }
  return overtaken;
}

void Arbiter::Pump(absl::Time now, Effects& effects) {
  StartAssured(now, effects);
  // Whoever is served changes the order of the others.
  while (ServeNext(now, effects)) continue;
}

// Only an assured one before it has a better right to what is free now: the
// room of those that wait is what is left when all promises are kept.
void Arbiter::StartAssured(absl::Time now, Effects& effects) {
  for (auto& [id, ticket] : tickets_) {
    if (ticket.state != TicketState::kAssured) continue;
    if (free() < ticket.size) return;
    StartCreate(ticket, now, effects);
  }
}

bool Arbiter::ServeNext(absl::Time now, Effects& effects) {
  if (turns_.waiting() == 0) return false;
  std::vector<Stop> limits;
  std::vector<Stop> stops;
  const std::vector<Standing> line = LineUp(limits, now);
  const std::vector<Standing> claims = CreditClaims(line);
  for (const Standing& standing : line) {
    Ticket& ticket = tickets_.at(standing.place.arrival);
    if (IsStopped(ticket, stops)) continue;
    if (FindClaim(standing.place, ticket.tenant, claims) != nullptr) continue;
    if (Serve(ticket, now, effects)) return true;
    stops.push_back(standing.stop);
  }
  return false;
}

bool Arbiter::Serve(Ticket& ticket, absl::Time now, Effects& effects) {
  if (TakesOf(ticket) == Takes::kRoomAndCredit &&
      BurstsUnreclaimably(ticket.tenant, ticket.kind, ticket.size)) {
    Settle(ticket, RefuseBurst(ticket.tenant, ticket.request.size, ticket.size),
           effects);
    return true;
  }
  const TenantId tenant = ticket.tenant;
  const Amounts amounts = AmountsOfLease(ticket.size);
  if (!rates_.TryTake(tenant, amounts, now)) return false;
  if (ServeRoom(ticket, now, effects)) return true;
  rates_.GiveBack(tenant, amounts);
  return false;
}

bool Arbiter::ServeRoom(Ticket& ticket, absl::Time now, Effects& effects) {
  Session& session = *Find(ticket.session);
  if (auto grant =
          TryKept(session, ticket.request, ticket.kind, ticket.size, now)) {
    Settle(ticket, *std::move(grant), effects);
    return true;
  }
  if (auto drawn = DrawReserved(session, ticket.kind, ticket.size)) {
    ticket.charge = *std::move(drawn);
    ticket.is_covered = true;
    VRAMPOOL_CHECK(TryRoom(ticket, now, effects));
    return true;
  }
  if (auto grant =
          TryClean(session, ticket.request, ticket.kind, ticket.size, now)) {
    Settle(ticket, *std::move(grant), effects);
    return true;
  }
  ticket.is_covered = ledger_.IsCovered(ticket.tenant, ticket.size);
  absl::StatusOr<Charge> charge =
      ledger_.Take(ticket.tenant, ticket.size, ticket.request.size);
  if (!charge.ok()) return false;
  ticket.charge = *std::move(charge);
  if (TryRoom(ticket, now, effects)) {
    effects.room_changed = true;  // It stops nobody any more.
    return true;
  }
  ticket.charge = Charge();
  return false;
}

void Arbiter::SetState(Ticket& ticket, TicketState state) {
  const bool was_waiting = ticket.state == TicketState::kWaiting;
  const bool is_waiting = state == TicketState::kWaiting;
  if (ticket.state == TicketState::kAssured) assured_ -= ticket.size;
  if (state == TicketState::kAssured) assured_ += ticket.size;
  ticket.state = state;
  if (was_waiting && !is_waiting) turns_.Leave(ticket.tenant);
  if (!was_waiting && is_waiting) turns_.Join(ticket.tenant);
}

void Arbiter::TakeBackPromises(absl::Time now, Effects& effects) {
  while (SaturatingSub(pool_.free() + pool_.coming(), missing_) < assured_) {
    auto latest = tickets_.rbegin();
    while (latest->second.state != TicketState::kAssured) ++latest;
    Ticket& ticket = latest->second;
    SetState(ticket, TicketState::kWaiting);
    turns_.TakeBack(ticket.tenant, CostOf(ticket.tenant, ticket.size));
    rates_.GiveBack(ticket.tenant, AmountsOfLease(ticket.size));
    ticket.charge = Charge();
    // Its caller was told that the answer comes soon.
    if (ticket.is_overdue) Settle(ticket, WaitedOut(ticket.id, now), effects);
  }
  while (room() < promised()) {
    EraseReservation(reservations_.rbegin()->first);
  }
}

}  // namespace vrampool
