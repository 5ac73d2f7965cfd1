// The Arbiter's state as values, and its invariants: see arbiter.h.

#include <algorithm>
#include <map>

#include "base/check.h"
#include "daemon/core/arbiter.h"

namespace vrampool {
namespace {

// As `vrampool leaks` lists them: one that must not be destroyed while it is
// mapped waits in state destroying.
bool IsLingering(const Slab& slab) {
  return slab.state() == SlabState::kLingering ||
         (slab.state() == SlabState::kDestroying && !slab.mappers.empty());
}

}  // namespace

Bytes Arbiter::ChargedTo(const Session& session) const {
  const auto& slabs = pool_.slabs();
  Bytes charged;
  for (const auto& [lease, slab] : session.leases) {
    charged += slabs.at(slab)->size;
  }
  for (const SlabId slab : session.parked) charged += slabs.at(slab)->size;
  return charged;
}

SessionView Arbiter::ViewOf(SessionId id) const {
  SessionView view;
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return view;
  const Session& session = found->second;
  view.id = id;
  view.tenant = ledger_.path(session.tenant);
  view.peer = session.peer;
  view.labels = session.labels;
  view.state = session.state;
  view.attached_at = session.attached_at;
  view.leases = session.leases.size();
  view.holds = session.holds;
  view.charged = ChargedTo(session);
  const auto& slabs = pool_.slabs();
  for (const SlabId slab : session.mapped) {
    const SlabState state = slabs.at(slab)->state();
    if (state == SlabState::kLingering || state == SlabState::kDestroying) {
      view.lingering += slabs.at(slab)->size;
    }
  }
  return view;
}

std::vector<WaitingView> Arbiter::ViewOfLine(absl::Time now) const {
  std::vector<WaitingView> views;
  std::vector<Stop> limits;
  for (const Standing& standing : LineUp(limits, now)) {
    const Ticket& ticket = tickets_.at(standing.place.arrival);
    views.push_back({.ticket = ticket.id,
                     .session = ticket.session,
                     .tenant = ledger_.path(ticket.tenant),
                     .size = ticket.size,
                     .is_burst = standing.place.is_burst,
                     .priority = -standing.place.rank,
                     .since = ticket.since});
  }
  return views;
}

std::vector<SlabView> Arbiter::ViewOfSlabs() const {
  std::vector<SlabView> views;
  for (const auto& [id, slab] : pool_.slabs()) {
    SlabView view;
    view.id = id;
    view.lease = slab->lease;
    view.session = slab->session;
    if (slab->tenant.has_value()) view.tenant = ledger_.path(*slab->tenant);
    if (!slab->charge.is_empty()) {
      view.payer = ledger_.path(slab->charge.tenant());
    }
    view.size = slab->size;
    view.kind = slab->kind;
    view.state = slab->state();
    view.since = slab->since();
    view.objects = slab->objects;
    view.mapped_by.assign(slab->mappers.begin(), slab->mappers.end());
    views.push_back(std::move(view));
  }
  return views;
}

std::vector<TenantView> Arbiter::ViewOfTenants() const {
  std::map<TenantId, uint64_t> sessions;
  for (const auto& [id, session] : sessions_) ++sessions[session.tenant];
  std::map<TenantId, Bytes> clean;
  std::map<TenantId, Bytes> lingering;
  for (const auto& [id, slab] : pool_.slabs()) {
    if (!slab->tenant) continue;
    if (slab->state() == SlabState::kClean) clean[*slab->tenant] += slab->size;
    if (IsLingering(*slab) && !slab->charge.is_empty()) {
      lingering[slab->charge.tenant()] += slab->size;
    }
  }
  std::vector<TenantView> views;
  const std::vector<TenantId> tenants = ledger_.tenants();
  std::map<TenantId, TenantView*> by_id;
  views.reserve(tenants.size());  // So that they stay where they are.
  for (const TenantId id : tenants) {
    const ResolvedQuota& quota = ledger_.resolved(id);
    views.push_back({.path = ledger_.path(id),
                     .limit = ledger_.limit(id),
                     .guarantee = ledger_.guarantee(id),
                     .used = ledger_.used(id),
                     .opened = ledger_.opened(id),
                     .available = ledger_.available(id),
                     .covered = ledger_.covered(id),
                     .burst = ledger_.burst(id),
                     .peak = ledger_.peak(id),
                     .clean = clean[id],
                     .sessions = sessions[id],
                     .priority = quota.priority,
                     .weight = quota.weight,
                     .lends = quota.lends,
                     .evictable = quota.evictable,
                     .rates = quota.rates,
                     .lingering = lingering[id]});
    by_id[id] = &views.back();
  }
  for (const auto& [id, count] : refusals_) by_id.at(id)->refusals = count;
  for (const auto& [id, ticket] : tickets_) {
    if (ticket.state != TicketState::kWaiting) continue;
    absl::Time& since = by_id.at(ticket.tenant)->waiting_since;
    since = std::min(since, ticket.since);
  }
  // Parents come before their children.
  for (size_t i = views.size(); i-- > 1;) {
    const TenantView& child = views[i];
    TenantView& parent = *by_id.at(*ledger_.parent(tenants[i]));
    parent.lingering += child.lingering;
    parent.refusals += child.refusals;
    parent.waiting_since = std::min(parent.waiting_since, child.waiting_since);
  }
  return views;
}

std::vector<ReservationView> Arbiter::ViewOfReservations() const {
  std::vector<ReservationView> views;
  for (const auto& [id, held] : reservations_) {
    views.push_back({.id = id,
                     .session = held.session,
                     .tenant = ledger_.path(sessions_.at(held.session).tenant),
                     .left = held.charge.size(),
                     .kind = held.kind,
                     .expires_at = held.expires_at});
  }
  return views;
}

std::vector<ObjectView> Arbiter::ViewOfObjects() const {
  std::vector<ObjectView> views;
  for (const auto& [id, object] : objects_.objects()) {
    ObjectView view;
    view.id = id;
    view.name = object->name;
    view.tenant = ledger_.path(object->tenant);
    view.grants = object->grants;
    view.producer = object->producer;
    view.producer_is_live = object->producer_is_live;
    view.size = object->size();
    view.buffers = static_cast<uint32_t>(object->buffers.size());
    for (const auto& [session, count] : object->holds) {
      view.holders.insert(view.holders.end(), count, session);
    }
    view.phase = object->phase;
    view.created_at = object->created_at;
    view.last_opened_at = object->last_opened_at;
    view.expires_at = object->expires_at;
    view.is_sealed = object->is_sealed;
    view.metadata_bytes = object->metadata.size();
    view.layout = object->layout;
    views.push_back(std::move(view));
  }
  return views;
}

Snapshot Arbiter::TakeSnapshot(absl::Time now, SnapshotScope scope) const {
  Snapshot snapshot;
  snapshot.epoch = settings_.epoch;
  snapshot.taken_at = now;
  snapshot.pool = pool_.usage();
  snapshot.missing = missing_;
  snapshot.conservation_holds = pool_.IsConserved();
  snapshot.tenants = ViewOfTenants();
  snapshot.waiting = tickets_.size();
  snapshot.counters = counters_;
  if (scope == SnapshotScope::kTenants) return snapshot;
  for (const auto& [id, session] : sessions_) {
    snapshot.sessions.push_back(ViewOf(id));
  }
  snapshot.slabs = ViewOfSlabs();
  snapshot.objects = ViewOfObjects();
  snapshot.reservations = ViewOfReservations();
  snapshot.line = ViewOfLine(now);
  return snapshot;
}

void Arbiter::CheckInvariants() const {
  ledger_.CheckInvariants();
  pool_.CheckInvariants();
  objects_.CheckInvariants();
  CheckPromises();
  CheckSlabs();
  CheckTickets();
  CheckSessions();
  Bytes charged;
  for (const auto& [id, slab] : pool_.slabs()) charged += slab->charge.size();
  for (const auto& [id, ticket] : tickets_) charged += ticket.charge.size();
  charged += reserved_;
  VRAMPOOL_CHECK(charged == ledger_.used(Ledger::kRoot));
}

void Arbiter::CheckSlabs() const {
  std::map<SlabId, uint32_t> objects_in;
  for (const auto& [id, object] : objects_.objects()) {
    for (const SlabId slab : object->slabs) ++objects_in[slab];
  }
  for (const auto& [id, slab] : pool_.slabs()) {
    const SlabState state = slab->state();
    VRAMPOOL_CHECK(slab->objects == objects_in[id]);
    VRAMPOOL_CHECK(slab->objects == 0 || state == SlabState::kLeased ||
                   state == SlabState::kKept);
    VRAMPOOL_CHECK(slab->objects > 0 || state != SlabState::kKept);
    const bool is_held =
        state == SlabState::kLeased || state == SlabState::kParked;
    VRAMPOOL_CHECK(is_held == (slab->session != SessionId{}));
    VRAMPOOL_CHECK((state == SlabState::kLeased) == (slab->lease != LeaseId{}));
    if (is_held || state == SlabState::kKept ||
        state == SlabState::kLingering) {
      VRAMPOOL_CHECK(slab->charge.size() == slab->size);
    }
    if (state == SlabState::kClean || state == SlabState::kCreating) {
      VRAMPOOL_CHECK(slab->charge.size().is_zero() && !slab->is_spoiled &&
                     !slab->had_guests);
    }
    VRAMPOOL_CHECK(state != SlabState::kLingering || !slab->mappers.empty());
    for (const SessionId mapper : slab->mappers) {
      VRAMPOOL_CHECK(sessions_.at(mapper).mapped.contains(id));
    }
    CheckPledges(*slab);
  }
  for (const SlabId id : failed_destroys_) {
    VRAMPOOL_CHECK(pool_.Find(id)->state() == SlabState::kDestroying);
  }
}

void Arbiter::CheckTickets() const {
  VRAMPOOL_CHECK(assured_ <=
                 SaturatingSub(pool_.free() + pool_.coming(), missing_));
  VRAMPOOL_CHECK(promised() <= room());
  Bytes reserved;
  for (const auto& [id, held] : reservations_) {
    const Session& session = sessions_.at(held.session);
    VRAMPOOL_CHECK(session.state == SessionState::kLive);
    VRAMPOOL_CHECK(session.reservations.contains(id));
    VRAMPOOL_CHECK(!held.charge.size().is_zero());
    reserved += held.charge.size();
  }
  VRAMPOOL_CHECK(reserved == reserved_);
  size_t creating = 0;
  size_t waiting = 0;
  Bytes assured;
  for (const auto& [id, ticket] : tickets_) {
    VRAMPOOL_CHECK(
        sessions_.at(ticket.session).tickets_by_key.at(ticket.request.key) ==
        id);
    const bool is_waiting = ticket.state == TicketState::kWaiting;
    VRAMPOOL_CHECK(ticket.charge.size() ==
                   (is_waiting ? Bytes() : ticket.size));
    if (ticket.state == TicketState::kCreating) ++creating;
    if (ticket.state == TicketState::kAssured) assured += ticket.size;
    if (is_waiting) ++waiting;
  }
  VRAMPOOL_CHECK(assured == assured_);
  VRAMPOOL_CHECK(creating == creating_.size());
  VRAMPOOL_CHECK(waiting == turns_.waiting());
  for (const auto& [slab, ticket] : creating_) {
    VRAMPOOL_CHECK(pool_.Find(slab)->state() == SlabState::kCreating);
    VRAMPOOL_CHECK(tickets_.at(ticket).state == TicketState::kCreating);
  }
}

void Arbiter::CheckSessions() const {
  size_t leases = 0;
  size_t parked = 0;
  size_t mapped = 0;
  size_t tickets = 0;
  size_t reservations = 0;
  size_t produced = 0;
  uint64_t holds = 0;
  std::map<uid_t, uint32_t> per_uid;
  for (const auto& [id, session] : sessions_) {
    ++per_uid[session.peer.uid];
    leases += session.leases.size();
    parked += session.parked.size();
    mapped += session.mapped.size();
    tickets += session.tickets_by_key.size();
    reservations += session.reservations.size();
    produced += session.produced.size();
    holds += session.holds;
    VRAMPOOL_CHECK(session.leases.size() == session.leases_by_key.size());
    for (const auto& [key, lease] : session.leases_by_key) {
      const Slab& slab = *pool_.Find(session.leases.at(lease));
      VRAMPOOL_CHECK(slab.lease == lease && slab.session == id);
      VRAMPOOL_CHECK(slab.request.key == key);
      VRAMPOOL_CHECK(session.mapped.contains(slab.id));
    }
    for (const SlabId slab : session.parked) {
      VRAMPOOL_CHECK(pool_.Find(slab)->state() == SlabState::kParked);
      VRAMPOOL_CHECK(pool_.Find(slab)->session == id);
    }
    for (const ObjectId object : session.held) {
      VRAMPOOL_CHECK(objects_.objects().at(object)->holds.contains(id));
    }
    if (session.state != SessionState::kEnded) continue;
    VRAMPOOL_CHECK(session.leases.empty() && session.parked.empty());
    VRAMPOOL_CHECK(session.held.empty() && session.produced.empty());
    VRAMPOOL_CHECK(!session.is_process_gone);
  }
  for (const auto& [id, slab] : pool_.slabs()) {
    leases -= slab->state() == SlabState::kLeased ? 1 : 0;
    parked -= slab->state() == SlabState::kParked ? 1 : 0;
    mapped -= slab->mappers.size();
  }
  for (const auto& [id, object] : objects_.objects()) {
    produced -= object->producer_is_live ? 1 : 0;
    for (const auto& [session, count] : object->holds) {
      VRAMPOOL_CHECK(sessions_.at(session).held.contains(id));
      holds -= count;
    }
  }
  VRAMPOOL_CHECK(leases == 0 && parked == 0 && mapped == 0);
  VRAMPOOL_CHECK(reservations == reservations_.size());
  VRAMPOOL_CHECK(tickets == tickets_.size() && produced == 0 && holds == 0);
  VRAMPOOL_CHECK(per_uid.size() == sessions_per_uid_.size());
  for (const auto& [uid, count] : per_uid) {
    VRAMPOOL_CHECK(sessions_per_uid_.at(uid) == count);
  }
}

}  // namespace vrampool
