// Room that is held for a session before it leases: see arbiter.h.
//
// A session can have room held for it, for a bounded time, that
// its leases then draw from; it is charged like a lease, asked for like one
// that may not wait, and promised like an assured ticket, but clean slabs give
// way only when it is used. It ends when used up, released or expired, with its
// session, and when the device loses the room.

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

constexpr size_t kMaxReservations = 16;  // Of a session.

}  // namespace

absl::StatusOr<ReservationGrant> Arbiter::Reserve(SessionId id,
                                                  const ReserveRequest& request,
                                                  absl::Time now,
                                                  Effects& effects) {
  VRAMPOOL_ASSIGN_OR_RETURN(Session* const session, FindLive(id));
  HandleKind kind{};
  Bytes size;
  VRAMPOOL_RETURN_IF_ERROR(CountRefusal(
      session->tenant,
      CheckLeaseRequest(*session, {.size = request.size, .kind = request.kind},
                        kind, size)));
  if (request.hold <= absl::ZeroDuration() || request.hold > kLongestHold) {
    return Refuse(Reason::kBadArgument,
                  "a reservation is held for more than nothing and at most an "
                  "hour");
  }
  if (session->reservations.size() >= kMaxReservations) {
    return Refuse(
        {.reason = Reason::kLimitReached,
         .subject = "reservations_per_session"},
        absl::StrCat("the session has ", kMaxReservations,
                     " reservations, the most there can be; release some"));
  }
  const TenantId tenant = session->tenant;
  if (BurstsUnreclaimably(tenant, kind, size)) {
    return CountRefusal(tenant, RefuseBurst(tenant, request.size, size));
  }
  if (QuotaInTheWay(tenant, size).has_value()) {
    return CountRefusal(
        tenant,
        NamingHolder(ledger_.Take(tenant, size, request.size).status()));
  }
  if (FindOvertaken(tenant, size, Takes::kRoom, now).has_value() ||
      ledger_.FindObstacle(tenant, size).has_value() ||
      RoomFor(tenant) < size) {
    RetryDestroys(effects);
    return CountRefusal(tenant, RefuseForRoom(tenant, request.size, size));
  }
  turns_.Serve(tenant, CostOf(tenant, size));
  const ReservationId reservation{++last_reservation_};
  Reservation& held = reservations_[reservation];
  held.id = reservation;
  held.session = id;
  held.kind = kind;
  held.expires_at = now + request.hold;
  held.charge = *ledger_.Take(tenant, size, request.size);
  reserved_ += size;
  session->reservations.insert(reservation);
  return ReservationGrant{.reservation = reservation,
                          .asked = request.size,
                          .reserved = size,
                          .used = ledger_.used(tenant),
                          .limit = ledger_.limit(tenant),
                          .guarantee = ledger_.guarantee(tenant),
                          .expires_at = held.expires_at};
}

absl::Status Arbiter::ReleaseReservation(SessionId id,
                                         ReservationId reservation,
                                         absl::Time now, Effects& effects) {
  VRAMPOOL_ASSIGN_OR_RETURN(Session* const session, FindLive(id));
  if (!session->reservations.contains(reservation)) {
    return Refuse(Reason::kReservationUnknown,
                  absl::StrCat("the session has no reservation ",
                               static_cast<uint64_t>(reservation),
                               "; it was used up, released, or has expired"));
  }
  EraseReservation(reservation);
  effects.room_changed = true;
  Pump(now, effects);
  Refill(now, effects);
  return absl::OkStatus();
}

void Arbiter::EraseReservation(ReservationId id) {
  const auto found = reservations_.find(id);
  reserved_ -= found->second.charge.size();
  Find(found->second.session)->reservations.erase(id);
  reservations_.erase(found);  // Gives the rest of its charge back.
}

void Arbiter::DropReservations(Session& session) {
  while (!session.reservations.empty()) {
    EraseReservation(*session.reservations.begin());
  }
}

bool Arbiter::ExpireReservations(absl::Time now) {
  std::vector<ReservationId> expired;
  for (const auto& [id, held] : reservations_) {
    if (held.expires_at <= now) expired.push_back(id);
  }
  for (const ReservationId id : expired) EraseReservation(id);
  return !expired.empty();
}

const Reservation* Arbiter::FindReservation(const Session& session,
                                            HandleKind kind, Bytes size) const {
  const Reservation* soonest = nullptr;
  for (const ReservationId id : session.reservations) {
    const Reservation& held = reservations_.at(id);
    if (held.kind != kind || held.charge.size() < size) continue;
    if (soonest == nullptr || held.expires_at < soonest->expires_at) {
      soonest = &held;
    }
  }
  return soonest;
}

// The room is there: it was kept free for this. So nobody is overtaken.
std::optional<Charge> Arbiter::DrawReserved(Session& session, HandleKind kind,
                                            Bytes size) {
  const Reservation* const found = FindReservation(session, kind, size);
  if (found == nullptr) return std::nullopt;
  Reservation& held = reservations_.at(found->id);
  Charge charge = held.charge.Split(size);
  reserved_ -= size;
  if (held.charge.size().is_zero()) EraseReservation(held.id);
  return charge;
}

}  // namespace vrampool
