// What becomes of slabs, and what the device reports of them: see arbiter.h.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {

namespace {

// Of a slab that could not be made.
Reason ReasonOfDevice(const absl::Status& error) {
  if (absl::IsResourceExhausted(error)) return Reason::kPoolExhausted;
  if (absl::IsUnavailable(error)) return Reason::kDeviceLost;
  return Reason::kDeviceError;
}

}  // namespace

void Arbiter::Map(Session& session, Slab& slab) {
  slab.mappers.insert(session.id);
  session.mapped.insert(slab.id);
}

void Arbiter::Unmap(Session& session, Slab& slab) {
  slab.mappers.erase(session.id);
  session.mapped.erase(slab.id);
  Reckon(slab);
}

bool Arbiter::IsWithheld(const Slab& slab) const {
  const auto& kinds = settings_.not_isolating;
  return !slab.mappers.empty() &&
         std::find(kinds.begin(), kinds.end(), slab.kind) != kinds.end();
}

void Arbiter::AfterUnmap(Slab& slab, Effects& effects) {
  if (!slab.mappers.empty()) return;
  if (slab.state() == SlabState::kLingering) {
    // The session's word; whether the device has them back, it must say.
    pool_.Erase(slab.id);
    effects.device_changed = true;
    return;
  }
  const auto& kinds = settings_.not_isolating;
  if (slab.state() == SlabState::kDestroying &&
      std::find(kinds.begin(), kinds.end(), slab.kind) != kinds.end()) {
    effects.destroy.push_back(slab.id);  // It was withheld until now.
  }
}

void Arbiter::EndLease(Session& session, Slab& slab) {
  session.leases.erase(slab.lease);
  session.leases_by_key.erase(slab.request.key);
  slab.lease = LeaseId{};
  slab.session = SessionId{};
}

void Arbiter::Park(Session& session, Slab& slab, absl::Time now) {
  slab.session = session.id;
  session.parked.insert(slab.id);
  pool_.Move(slab, SlabState::kParked, now);
}

void Arbiter::Destroy(Slab& slab, absl::Time now, Effects& effects) {
  slab.session = SessionId{};
  pool_.Move(slab, SlabState::kDestroying, now);
  if (!IsWithheld(slab)) effects.destroy.push_back(slab.id);
  effects.room_changed = true;
}

void Arbiter::Release(Slab& slab, absl::Time now, Effects& effects) {
  // Others that opened objects in it may map it yet. Then it cannot become
  // somebody's fresh memory and lingers, charged, until they let go.
  // The GPU work of one that died while it mapped it may go on for a while.
  if (!slab.mappers.empty() || slab.is_spoiled || slab.had_guests ||
      is_stopping_) {
    Destroy(slab, now, effects);
    return;
  }
  slab.session = SessionId{};
  slab.charge = Charge();
  pool_.Move(slab, SlabState::kClean, now);
  effects.room_changed = true;
}

void Arbiter::OnCreated(SlabId id, const absl::Status& outcome, absl::Time now,
                        Effects& effects) {
  Slab* const slab = pool_.Find(id);
  VRAMPOOL_CHECK(slab != nullptr && slab->state() == SlabState::kCreating);
  const auto found = creating_.find(id);
  Ticket* const ticket =
      found == creating_.end() ? nullptr : &tickets_.at(found->second);
  if (found != creating_.end()) creating_.erase(found);
  effects.room_changed = true;
  effects.device_changed = true;
  if (!outcome.ok()) {
    pool_.Erase(id);
    if (ticket != nullptr) {
      Settle(*ticket,
             Refuse({.reason = ReasonOfDevice(outcome),
                     .asked = ticket->request.size,
                     .charged = ticket->size},
                    absl::StrCat("the device could not make the slab: ",
                                 std::string(outcome.message()))),
             effects);
    }
    // No refill here: a device without room would be asked for ever.
    Pump(now, effects);
    return;
  }
  if (ticket == nullptr || !device_lost_.empty()) {
    pool_.Move(*slab, SlabState::kClean, now);
    if (ticket != nullptr) {
      Settle(*ticket, Refuse(Reason::kDeviceLost, device_lost_), effects);
    }
    Pump(now, effects);
    return;
  }
  Session& session = *Find(ticket->session);
  Charge charge = std::move(ticket->charge);
  const LeaseRequest request = ticket->request;
  Settle(*ticket, GrantSlab(session, *slab, std::move(charge), request, now),
         effects);
  Refill(now, effects);
}

void Arbiter::OnDestroyed(SlabId id, const absl::Status& outcome,
                          absl::Time now, Effects& effects) {
  Slab* const slab = pool_.Find(id);
  VRAMPOOL_CHECK(slab != nullptr && slab->state() == SlabState::kDestroying);
  effects.device_changed = true;
  // Not found: an attempt whose outcome was lost has done it.
  if (!outcome.ok() && !absl::IsNotFound(outcome)) {
    // The slab stays as it is, accounted for, until a later attempt succeeds.
    slab->is_stuck = true;
    failed_destroys_.push_back(id);
    TakeBackPromises(now, effects);
    Pump(now, effects);
    return;
  }
  if (slab->mappers.empty()) {
    pool_.Erase(id);
  } else {
    pool_.Move(*slab, SlabState::kLingering, now);
  }
  RetryDestroys(effects);
  effects.room_changed = true;
  Pump(now, effects);
  Refill(now, effects);
}

void Arbiter::RetryDestroys(Effects& effects) {
  for (const SlabId failed : std::exchange(failed_destroys_, {})) {
    effects.destroy.push_back(failed);
  }
}

void Arbiter::OnDeviceRoom(Bytes ceiling, absl::Time now, Effects& effects) {
  // Slabs whose holders may keep their bytes are not expected back, so they are
  // not missing: they are charged.
  Bytes held = pool_.usage().of(SlabState::kLingering);
  for (const auto& [id, slab] : pool_.slabs()) {
    if (slab->state() == SlabState::kDestroying && !slab->mappers.empty() &&
        !IsWithheld(*slab)) {
      held += slab->size;
    }
  }
  const Bytes missing =
      SaturatingSub(SaturatingSub(settings_.capacity, held), ceiling);
  if (missing == missing_) return;
  const bool is_less = missing < missing_;
  missing_ = missing;
  if (!is_less) {
    TakeBackPromises(now, effects);
    return;
  }
  effects.room_changed = true;
  Pump(now, effects);
  Refill(now, effects);
}

void Arbiter::OnDeviceLost(std::string_view why, Effects& effects) {
  if (!device_lost_.empty()) return;
  device_lost_ = absl::StrCat("the device is lost: ", std::string(why));
  std::vector<TicketId> waiting;
  for (const auto& [id, ticket] : tickets_) {
    if (ticket.state != TicketState::kCreating) waiting.push_back(id);
  }
  for (const TicketId id : waiting) {
    Settle(tickets_.at(id), Refuse(Reason::kDeviceLost, device_lost_), effects);
  }
  for (auto& [id, session] : sessions_) DropReservations(session);
  effects.objects_changed = true;
  effects.room_changed = true;
}

void Arbiter::Preallocate(Bytes slab, absl::Time now, Effects& effects) {
  preallocate_ = slab;
  Refill(now, effects);
}

// Takes room that nobody waits for back into slabs, so that nobody outside the
// broker can.
void Arbiter::Refill(absl::Time now, Effects& effects) {
  if (preallocate_.is_zero() || is_stopping_ || !device_lost_.empty()) return;
  if (!tickets_.empty()) return;
  // What is being made is no room until it is there.
  while (free() >= preallocate_ && room() >= preallocate_ + reserved_) {
    const Slab& slab =
        pool_.Reserve(preallocate_, settings_.kinds.front(), now);
    effects.create.push_back({slab.id, slab.size, slab.kind});
  }
}

absl::StatusOr<uint32_t> Arbiter::ReportUnmapped(
    SessionId id, const std::vector<SlabId>& slabs, absl::Time now,
    Effects& effects) {
  // Also for a condemned session: giving back is always welcome.
  Session* const session = Find(id);
  if (session == nullptr || session->state == SessionState::kEnded) {
    return Refuse(Reason::kSessionEnded, "the session has ended");
  }
  absl::flat_hash_set<SlabId> held;  // Slabs of the objects that it holds.
  for (const ObjectId object : session->held) {
    const std::vector<SlabId>& used = objects_.Find(object)->slabs;
    held.insert(used.begin(), used.end());
  }
  absl::flat_hash_set<SlabId> left;
  uint32_t kept = 0;
  for (const SlabId slab_id : slabs) {
    if (!session->mapped.contains(slab_id)) continue;
    Slab& slab = *pool_.Find(slab_id);
    if (slab.session == id && slab.state() == SlabState::kLeased) {
      ++kept;
      continue;
    }
    if (held.contains(slab_id)) {
      ++kept;
      continue;
    }
    Unmap(*session, slab);
    if (slab.objects > 0) left.insert(slab_id);
    if (session->parked.erase(slab_id) > 0) {
      Release(slab, now, effects);
    } else {
      AfterUnmap(slab, effects);
    }
  }
  EndUnheldIn(left, now, effects);
  session->is_asked = false;
  effects.room_changed = true;
  Pump(now, effects);
  Refill(now, effects);
  return kept;
}

void Arbiter::BeginShutdown(Effects& effects) {
  is_stopping_ = true;
  std::vector<TicketId> waiting;
  for (const auto& [id, ticket] : tickets_) {
    if (ticket.state != TicketState::kCreating) waiting.push_back(id);
  }
  for (const TicketId id : waiting) {
    Settle(tickets_.at(id),
           Refuse(Reason::kShuttingDown, "the daemon is stopping"), effects);
  }
  for (auto& [id, session] : sessions_) DropReservations(session);
  effects.objects_changed = true;
  effects.room_changed = true;
}

}  // namespace vrampool
