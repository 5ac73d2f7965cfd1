// In which order requests that wait are served, and which of them stops which:
// see arbiter.h.

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

Arbiter::Place Arbiter::PlaceOf(TenantId tenant, Bytes size,
                                TicketId arrival) const {
  return {.is_burst = !ledger_.IsCovered(tenant, size),
          .rank = -ledger_.resolved(tenant).priority,
          .account = turns_.AccountOf(tenant),
          .arrival = arrival};
}

Arbiter::Stop Arbiter::StopOf(TenantId tenant, Bytes size) const {
  const std::optional<Obstacle> obstacle = ledger_.FindObstacle(tenant, size);
  if (!obstacle.has_value()) {
    return {.tenant = Ledger::kRoot, .is_for_room = true};
  }
  return {.tenant = obstacle->tenant, .is_for_room = false};
}

bool Arbiter::IsStopped(TenantId tenant, Bytes size,
                        const std::vector<Stop>& stops) const {
  return std::any_of(stops.begin(), stops.end(), [&](const Stop& stop) {
    return stop.is_for_room ||
           !ledger_.Growth(tenant, size, stop.tenant).is_zero();
  });
}

// A request within a guarantee comes before those that burst, except that it
// must not take from under a limit what an earlier one waits for there: small
// requests would keep a large one of their own tenant waiting for ever. These
// are the limits.
void Arbiter::NoteLimit(const Place& place, const Stop& stop,
                        std::vector<Stop>& limits) const {
  if (!place.is_burst || stop.is_for_room || stop.tenant == Ledger::kRoot) {
    return;
  }
  for (const Stop& known : limits) {
    if (known.tenant == stop.tenant) return;
  }
  limits.push_back(stop);
}

std::vector<Arbiter::Standing> Arbiter::LineUp(
    std::vector<Stop>& limits) const {
  std::vector<Standing> line;
  for (const auto& [id, ticket] : tickets_) {
    if (ticket.state != TicketState::kWaiting) continue;
    Standing standing{.place = PlaceOf(ticket.tenant, ticket.size, id),
                      .stop = StopOf(ticket.tenant, ticket.size)};
    standing.place.is_burst |= IsStopped(ticket.tenant, ticket.size, limits);
    NoteLimit(standing.place, standing.stop, limits);
    line.push_back(standing);
  }
  std::sort(line.begin(), line.end(), [](const Standing& a, const Standing& b) {
    return a.place < b.place;
  });
  return line;
}

bool Arbiter::IsOvertaking(TenantId tenant, Bytes size) const {
  if (turns_.waiting() == 0) return false;
  std::vector<Stop> limits;
  const std::vector<Standing> line = LineUp(limits);
  Place place = PlaceOf(tenant, size, TicketId{last_ticket_ + 1});
  place.is_burst |= IsStopped(tenant, size, limits);
  std::vector<Stop> stops;
  for (const Standing& standing : line) {
    if (place < standing.place) break;
    const Ticket& ticket = tickets_.at(standing.place.arrival);
    // One that is stopped itself adds nothing: it waits for the other.
    if (IsStopped(ticket.tenant, ticket.size, stops)) continue;
    stops.push_back(standing.stop);
  }
  return IsStopped(tenant, size, stops);
}

void Arbiter::Pump(absl::Time now, Effects& effects) {
  StartAssured(now, effects);
  ServeParked(now, effects);
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

// A parked slab is room for nobody else: no order is needed.
void Arbiter::ServeParked(absl::Time now, Effects& effects) {
  std::vector<TicketId> waiting;
  for (const auto& [id, ticket] : tickets_) {
    if (ticket.state == TicketState::kWaiting) waiting.push_back(id);
  }
  for (const TicketId id : waiting) {
    Ticket& ticket = tickets_.at(id);
    Session& session = *Find(ticket.session);
    if (auto grant =
            TryParked(session, ticket.request, ticket.kind, ticket.size, now)) {
      Settle(ticket, *std::move(grant), effects);
    }
  }
}

bool Arbiter::ServeNext(absl::Time now, Effects& effects) {
  if (turns_.waiting() == 0) return false;
  std::vector<Stop> limits;
  std::vector<Stop> stops;
  for (const Standing& standing : LineUp(limits)) {
    Ticket& ticket = tickets_.at(standing.place.arrival);
    if (IsStopped(ticket.tenant, ticket.size, stops)) continue;
    if (Serve(ticket, now, effects)) return true;
    stops.push_back(standing.stop);
  }
  return false;
}

bool Arbiter::Serve(Ticket& ticket, absl::Time now, Effects& effects) {
  Session& session = *Find(ticket.session);
  if (BurstsUnreclaimably(ticket.tenant, ticket.kind, ticket.size)) {
    Settle(ticket, RefuseBurst(ticket.tenant, ticket.request.size, ticket.size),
           effects);
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
  ticket.state = state;
  if (was_waiting && !is_waiting) turns_.Leave(ticket.tenant);
  if (!was_waiting && is_waiting) turns_.Join(ticket.tenant);
}

void Arbiter::TakeBackPromises(Effects& effects) {
  while (SaturatingSub(pool_.free() + pool_.coming(), missing_) < assured()) {
    auto latest = tickets_.rbegin();
    while (latest->second.state != TicketState::kAssured) ++latest;
    Ticket& ticket = latest->second;
    SetState(ticket, TicketState::kWaiting);
    turns_.TakeBack(ticket.tenant, CostOf(ticket.tenant, ticket.size));
    ticket.charge = Charge();
    // Its caller was told that the answer comes soon.
    if (ticket.is_overdue) Settle(ticket, WaitedOut(ticket.id), effects);
  }
  while (room() < promised()) {
    EraseReservation(reservations_.rbegin()->first);
  }
}

}  // namespace vrampool
