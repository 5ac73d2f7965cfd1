// The life of sessions: see arbiter.h.

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {

Arbiter::Arbiter(CoreSettings settings, ObjectTable& table, HoldOracle& oracle)
    : settings_(std::move(settings)),
      ledger_(settings_.capacity, settings_.default_limit),
      pool_(settings_.capacity),
      objects_(settings_.bounds, table, oracle) {
  VRAMPOOL_CHECK(
      ledger_.SetQuotas(settings_.tenants, settings_.default_limit).ok());
}

absl::StatusOr<SessionId> Arbiter::Attach(const PeerIdentity& peer,
                                          const Labels& labels,
                                          std::string_view tenant,
                                          absl::Time now) {
  if (is_stopping_) {
    return Refuse(Reason::kShuttingDown,
                  "the daemon is stopping; attach again when it is back");
  }
  if (!device_lost_.empty()) return Refuse(Reason::kDeviceLost, device_lost_);
  if (sessions_.size() >= settings_.bounds.sessions) {
    return Refuse({.reason = Reason::kLimitReached, .subject = "sessions"},
                  absl::StrCat("the daemon has ", sessions_.size(),
                               " sessions, its bound (bounds.sessions)"));
  }
  const auto count = sessions_per_uid_.find(peer.uid);
  if (count != sessions_per_uid_.end() &&
      count->second >= settings_.bounds.sessions_per_uid) {
    return Refuse(
        {.reason = Reason::kLimitReached, .subject = "sessions_per_uid"},
        absl::StrCat("uid ", peer.uid, " has ", count->second,
                     " sessions, its bound (bounds.sessions_per_uid)"));
  }
  VRAMPOOL_ASSIGN_OR_RETURN(const TenantId tenant_id,
                            ledger_.FindOrMake(tenant));
  VRAMPOOL_RETURN_IF_ERROR(CheckSessionBounds(tenant_id));
  const SessionId id{++last_session_};
  Session session;
  session.id = id;
  session.tenant = tenant_id;
  session.peer = peer;
  session.labels = labels;
  session.attached_at = now;
  sessions_.emplace(id, std::move(session));
  ++sessions_per_uid_[peer.uid];
  ++counters_.sessions_attached;
  return id;
}

void Arbiter::Condemn(SessionId id, absl::Time now, Effects& effects) {
  Session* const session = Find(id);
  if (session == nullptr || session->state != SessionState::kLive) return;
  session->state = SessionState::kCondemned;
  DropTickets(*session, effects);
  DropReservations(*session);
  Pump(now, effects);
  Refill(now, effects);
}

bool Arbiter::SocketClosed(SessionId id, absl::Time now, Effects& effects) {
  Session* const session = Find(id);
  if (session == nullptr) return false;
  if (session->state == SessionState::kEnded) return true;
  session->state = SessionState::kEnded;
  DropTickets(*session, effects);
  DropReservations(*session);
  for (const SlabId slab : session->mapped) {
    pool_.Find(slab)->is_spoiled = true;
  }
  ReleasePromisesOf(*session, effects);
  EndObjectsOf(*session, now, effects);
  FreeSlabsOf(*session, now, effects);
  // What maps nothing is no suspect of anything: a process that attaches and
  // leaves again and again must not use up its user's sessions.
  if (session->is_process_gone || session->mapped.empty()) {
    Forget(*session, now, effects);
  }
  RetryDestroys(effects);
  Pump(now, effects);
  Refill(now, effects);
  return Find(id) != nullptr;
}

void Arbiter::ProcessGone(SessionId id, absl::Time now, Effects& effects) {
  Session* const session = Find(id);
  if (session == nullptr || session->is_process_gone) return;
  session->is_process_gone = true;
  // Until the socket is at end-of-file something of the process is left, a
  // forked child for example, and may map everything that it did.
  if (session->state != SessionState::kEnded) return;
  Forget(*session, now, effects);
  Pump(now, effects);
  Refill(now, effects);
}

Arbiter::Session* Arbiter::Find(SessionId id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : &found->second;
}

absl::StatusOr<const Arbiter::Session*> Arbiter::FindLive(SessionId id) const {
  const auto found = sessions_.find(id);
  if (found != sessions_.end() && !found->second.evicted_because.empty()) {
    return Refuse(Reason::kSessionEnded,
                  absl::StrCat("the session was evicted: ",
                               found->second.evicted_because));
  }
  if (found == sessions_.end() || found->second.state != SessionState::kLive) {
    return Refuse(Reason::kSessionEnded,
                  "the session has ended or was condemned; attach again");
  }
  return &found->second;
}

absl::StatusOr<Arbiter::Session*> Arbiter::FindLive(SessionId id) {
  VRAMPOOL_ASSIGN_OR_RETURN(const Session* const session,
                            std::as_const(*this).FindLive(id));
  return const_cast<Session*>(session);
}

void Arbiter::DropTickets(Session& session, Effects& effects) {
  while (!session.tickets_by_key.empty()) {
    Ticket& ticket = tickets_.at(session.tickets_by_key.begin()->second);
    Settle(ticket,
           Refuse(Reason::kSessionEnded,
                  "the session ended while the request waited"),
           effects);
  }
}

// All of a session's part in objects ends with it. An object that nobody else
// holds and that has no name ends too; a pending one is broken, and lives on
// while those hold it who opened it all the same.
void Arbiter::EndObjectsOf(Session& session, absl::Time now, Effects& effects) {
  const absl::flat_hash_set<ObjectId> produced = std::move(session.produced);
  const absl::flat_hash_set<ObjectId> held = std::move(session.held);
  session.produced.clear();
  session.held.clear();
  session.holds = 0;
  for (const ObjectId id : held) {
    objects_.DropAllHolds(*objects_.Find(id), session.id);
  }
  for (const ObjectId id : produced) {
    Object& object = *objects_.Find(id);
    object.producer_is_live = false;
    if (object.phase == ObjectPhase::kPending) {
      TellKnown(id, objects_.MarkBroken(object), effects);
    }
  }
  // Objects held only in this session's manifest are watched; it maps their
  // slabs, so looking at all objects there finds them.
  std::vector<ObjectId> candidates;
  for (const auto& [id, object] : objects_.objects()) {
    bool is_touched = held.contains(id) || produced.contains(id);
    for (const SlabId slab : object->slabs) {
      is_touched = is_touched || session.mapped.contains(slab);
    }
    if (is_touched) candidates.push_back(id);
  }
  for (const ObjectId id : candidates) {
    TryEndObject(*objects_.Find(id), now, effects);
  }
}

void Arbiter::FreeSlabsOf(Session& session, absl::Time now, Effects& effects) {
  const absl::flat_hash_map<LeaseId, SlabId> leases = session.leases;
  for (const auto& [lease, id] : leases) {
    Slab& slab = *pool_.Find(id);
    EndLease(session, slab);
    if (slab.objects > 0) {
      pool_.Move(slab, SlabState::kKept, now);
    } else {
      Destroy(slab, now, effects);
    }
  }
  const absl::flat_hash_set<SlabId> parked = std::move(session.parked);
  session.parked.clear();
  for (const SlabId id : parked) Destroy(*pool_.Find(id), now, effects);
}

// Nothing of the process is left: it maps nothing any more.
void Arbiter::Forget(Session& session, absl::Time, Effects& effects) {
  const absl::flat_hash_set<SlabId> mapped = session.mapped;
  for (const SlabId id : mapped) {
    Slab& slab = *pool_.Find(id);
    Unmap(session, slab);
    AfterUnmap(slab, effects);
  }
  const auto count = sessions_per_uid_.find(session.peer.uid);
  if (--count->second == 0) sessions_per_uid_.erase(count);
  sessions_.erase(session.id);
  effects.room_changed = true;
}

}  // namespace vrampool
