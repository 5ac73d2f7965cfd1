// Getting memory back: by asking and, if the quotas say so, by force; see
// arbiter.h.
//
// When a request begins to wait, those are asked once for idle memory
// that could help. When it has waited for CoreSettings::reclaim_patience, and a
// guarantee covers it or its priority is higher, a session of a tenant that
// bursts is evicted for it, if that tenant's quota allows it: of the lowest
// priority, then of the tenant that is most beyond its guarantee, then the
// youngest. One at a time, and nobody if all who may be evicted would not be
// enough.

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/core/arbiter.h"

namespace vrampool {
namespace {

// A victim has the patience of a request to be gone, and at least so long: it
// takes a process its time to end, however little patience there is.
constexpr absl::Duration kTimeToEnd = absl::Seconds(1);

absl::Time GoneBy(absl::Time evicted_at, absl::Duration patience) {
  return evicted_at + std::max(patience, kTimeToEnd);
}

}  // namespace

// Asks those for memory who could help: the tenants under the limit that is in
// the way; or, when the pool is what lacks, those that burst.
void Arbiter::AskForMemory(const Ticket& ticket, absl::Time now,
                           Effects& effects) {
  const Stop stop = StopOf(ticket, now);
  if (stop.lack == Lack::kCredit) return;  // That nobody can give back.
  const TenantId scope = stop.tenant;
  for (auto& [id, session] : sessions_) {
    if (session.state != SessionState::kLive || session.is_asked) continue;
    // Leases, and what it has opened: that counts against its tenant, too. What
    // is parked it cannot give back.
    if (id == ticket.session) continue;
    if (session.mapped.size() == session.parked.size()) continue;
    if (!ledger_.IsWithin(session.tenant, scope)) continue;
    if (scope == Ledger::kRoot && ledger_.burst(session.tenant).is_zero()) {
      continue;
    }
    session.is_asked = true;
    effects.reclaim.push_back({id, ticket.size});
  }
}

// What comes back when the session ends: not what carries objects that others
// have open, but what it opened itself of an owner that has let go, if nobody
// else maps that.
Bytes Arbiter::FreedWith(const Session& session) const {
  Bytes freed = ChargedTo(session);
  for (const SlabId id : session.mapped) {
    const Slab& slab = *pool_.slabs().at(id);
    if (slab.session == session.id && slab.objects > 0 &&
        slab.mappers.size() > 1) {
      freed -= slab.size;
    }
    const bool is_passed_on =
        slab.tenant != session.tenant && slab.charge.tenant() == session.tenant;
    if (is_passed_on && slab.mappers.size() == 1) freed += slab.size;
  }
  return freed;
}

bool Arbiter::MayDisplace(const Ticket& ticket, const Stop& stop,
                          const Session& session) const {
  if (session.state != SessionState::kLive || session.id == ticket.session) {
    return false;
  }
  if (FreedWith(session).is_zero()) return false;
  const ResolvedQuota& quota = ledger_.resolved(session.tenant);
  if (!quota.evictable || ledger_.burst(session.tenant).is_zero()) return false;
  if (!ledger_.IsWithin(session.tenant, stop.tenant)) return false;
  return ledger_.IsCovered(ticket.tenant, ticket.size) ||
         quota.priority < ledger_.resolved(ticket.tenant).priority;
}

Arbiter::Session* Arbiter::FindVictim(const Ticket& ticket, const Stop& stop) {
  Session* victim = nullptr;
  Bytes obtainable;
  // Lowest priority first, then who is most beyond its guarantee, then the
  // youngest.
  const auto rank = [this](const Session& session) {
    return std::tuple(-ledger_.resolved(session.tenant).priority,
                      ledger_.burst(session.tenant), session.id);
  };
  for (auto& [id, session] : sessions_) {
    if (!MayDisplace(ticket, stop, session)) continue;
    obtainable += FreedWith(session);
    if (victim == nullptr || rank(*victim) < rank(session)) victim = &session;
  }
  const Bytes available =
      std::min(ledger_.available(ticket.tenant), RoomFor(ticket.tenant));
  // Nobody dies for what would not be enough.
  if (obtainable < SaturatingSub(ticket.size, available)) return nullptr;
  return victim;
}

void Arbiter::Evict(Session& victim, const Ticket& ticket, absl::Time now,
                    Effects& effects) {
  victim.evicted_because = absl::StrCat(
      "its tenant ", ledger_.path(victim.tenant), " uses ",
      FormatBytes(ledger_.burst(victim.tenant)),
      " beyond its guarantee, and session ",
      static_cast<uint64_t>(ticket.session), " of tenant ",
      ledger_.path(ticket.tenant), ", which has a right to ",
      FormatBytes(ticket.size), ", waits for it since ",
      absl::FormatDuration(absl::Trunc(now - ticket.since, absl::Seconds(1))));
  victim.state = SessionState::kCondemned;
  effects.evict.push_back({.victim = victim.id,
                           .charged = FreedWith(victim),
                           .beneficiary = ticket.session,
                           .why = victim.evicted_because});
  last_evicted_ = victim.id;
  evicted_at_ = now;
  ++counters_.evictions;
  DropTickets(victim, effects);
  DropReservations(victim);
}

absl::Time Arbiter::NextTick(absl::Time now) const {
  absl::Time next = now + settings_.reclaim_patience;
  for (const auto& [id, held] : reservations_) {
    next = std::min(next, held.expires_at);
  }
  const auto consider = [&next, now](absl::Time due) {
    if (due > now) next = std::min(next, due);  // Else Tick() has looked.
  };
  if (turns_.waiting() > 0)
    consider(GoneBy(evicted_at_, settings_.reclaim_patience));
  for (const auto& [id, ticket] : tickets_) {
    if (ticket.state != TicketState::kWaiting) continue;
    consider(ticket.since + settings_.reclaim_patience);
  }
  return next;
}

void Arbiter::Tick(absl::Time now, Effects& effects) {
  if (ExpireReservations(now)) {
    effects.room_changed = true;
    Pump(now, effects);
    Refill(now, effects);
  }
  if (is_stopping_ || !device_lost_.empty()) return;
  // One at a time: what the last one had may be enough when it is back.
  const bool is_under_way =
      sessions_.contains(last_evicted_) &&
      now < GoneBy(evicted_at_, settings_.reclaim_patience);
  if (is_under_way || turns_.waiting() == 0) return;
  std::vector<Stop> limits;
  std::vector<Stop> stops;
  for (const Standing& standing : LineUp(limits, now)) {
    const Ticket& ticket = tickets_.at(standing.place.arrival);
    if (IsStopped(ticket, stops)) continue;
    stops.push_back(standing.stop);
    if (standing.stop.lack == Lack::kCredit) continue;
    if (now < ticket.since + settings_.reclaim_patience) continue;
    Session* const victim = FindVictim(ticket, standing.stop);
    if (victim == nullptr) continue;
    Evict(*victim, ticket, now, effects);
    Pump(now, effects);
    return;
  }
}

}  // namespace vrampool
