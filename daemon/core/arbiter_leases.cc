// Who gets which slab: see arbiter.h.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {

absl::Status Arbiter::CheckLeaseRequest(const Session& session,
                                        const LeaseRequest& request,
                                        HandleKind& kind, Bytes& size) const {
  if (is_stopping_) {
    return Refuse(Reason::kShuttingDown,
                  "the daemon is stopping; memory already leased stays usable");
  }
  if (!device_lost_.empty()) return Refuse(Reason::kDeviceLost, device_lost_);
  if (request.size.is_zero()) {
    return Refuse(Reason::kBadArgument, "a lease of zero bytes: ask for more");
  }
  const std::optional<Bytes> rounded =
      CheckedRoundUp(request.size, settings_.granule);
  if (!rounded.has_value() || *rounded > settings_.capacity) {
    return Refuse({.reason = Reason::kPoolExhausted,
                   .subject = "pool",
                   .asked = request.size,
                   .limit = settings_.capacity},
                  absl::StrCat("a slab of ", FormatBytes(request.size),
                               " can never fit: the whole pool is ",
                               FormatBytes(settings_.capacity)));
  }
  kind = request.kind == HandleKind::kNone ? settings_.kinds.front()
                                           : request.kind;
  if (std::find(settings_.kinds.begin(), settings_.kinds.end(), kind) ==
      settings_.kinds.end()) {
    return Refuse(Reason::kKindNotOffered,
                  absl::StrCat("this daemon does not offer slabs of kind ",
                               HandleKindName(kind)));
  }
  size = *rounded;
  const size_t leases = session.leases.size() + session.tickets_by_key.size();
  if (leases >= settings_.bounds.leases_per_session) {
    return Refuse(
        {.reason = Reason::kLimitReached, .subject = "leases_per_session"},
        absl::StrCat("the session has ", leases,
                     " leases, its bound; return some, or lease larger slabs"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Arbiter::LeaseAnswer>> Arbiter::FindRepeat(
    Session& session, const LeaseRequest& request) {
  const auto differs = [&request](const LeaseRequest& earlier) {
    return earlier.size != request.size || earlier.kind != request.kind;
  };
  const absl::Status conflict =
      Refuse(Reason::kIdempotencyConflict,
             "this idempotency key was used for another request; choose a new "
             "one for each allocation");
  if (const auto found = session.tickets_by_key.find(request.key);
      found != session.tickets_by_key.end()) {
    if (differs(tickets_.at(found->second).request)) return conflict;
    return LeaseAnswer(found->second);
  }
  const auto found = session.leases_by_key.find(request.key);
  if (found == session.leases_by_key.end()) {
    if (!session.spent_keys.Contains(request.key)) return std::nullopt;
    return Refuse(Reason::kIdempotencyConflict,
                  "the lease of this idempotency key has been given back; "
                  "choose a new key for each allocation");
  }
  const Slab& slab = *pool_.Find(session.leases.at(found->second));
  if (differs(slab.request)) return conflict;
  LeaseGrant grant;
  grant.lease = slab.lease;
  // The handle may have been lost with the reply: it is sent again.
  grant.slab = {slab.id, slab.size, slab.kind, /*is_mapped=*/false};
  FillNumbers(session, request, grant);
  grant.is_repeat = true;
  return LeaseAnswer(grant);
}

absl::StatusOr<Arbiter::LeaseAnswer> Arbiter::RequestLease(
    SessionId id, const LeaseRequest& request, WaitMode mode, absl::Time now,
    Effects& effects) {
  VRAMPOOL_ASSIGN_OR_RETURN(Session* const session, FindLive(id));
  VRAMPOOL_ASSIGN_OR_RETURN(const std::optional<LeaseAnswer> repeat,
                            FindRepeat(*session, request));
  if (repeat.has_value()) return *repeat;
  HandleKind kind{};
  Bytes size;
  VRAMPOOL_RETURN_IF_ERROR(CountRefusal(
      session->tenant, CheckLeaseRequest(*session, request, kind, size)));
  // Time has passed: some may be due who are before this one.
  if (MayWaitForCredit()) Pump(now, effects);
  const TenantId tenant = session->tenant;
  const bool has_room = TakesOf(*session, kind, size) == Takes::kCredit;
  if (!has_room && BurstsUnreclaimably(tenant, kind, size)) {
    return CountRefusal(tenant, RefuseBurst(tenant, request.size, size));
  }
  absl::StatusOr<LeaseAnswer> answer =
      ServeAtOnce(*session, request, kind, size, now, effects);
  if (answer.ok()) return answer;
  // No waiting for what the quotas can never admit.
  if (!has_room && !ledger_.CouldEverTake(tenant, size)) {
    mode = WaitMode::kFailFast;
  }
  // Perhaps the device has got over what it failed at.
  RetryDestroys(effects);
  if (mode == WaitMode::kFailFast) {
    return CountRefusal(tenant, NamingHolder(std::move(answer).status()));
  }
  if (tickets_.size() >= settings_.bounds.waiting ||
      session->tickets_by_key.size() >= settings_.bounds.waiting_per_session) {
    return CountRefusal(
        tenant, Refuse({.reason = Reason::kWaitQueueFull,
                        .asked = request.size,
                        .retry_after = absl::Milliseconds(100)},
                       "too many requests wait already; try again later"));
  }
  Ticket& ticket = AddTicket(*session, request, kind, size, now);
  AskForMemory(ticket, now, effects);
  return LeaseAnswer(ticket.id);
}

absl::StatusOr<Arbiter::LeaseAnswer> Arbiter::ServeAtOnce(
    Session& session, const LeaseRequest& request, HandleKind kind, Bytes size,
    absl::Time now, Effects& effects) {
  const TenantId tenant = session.tenant;
  const Amounts amounts = AmountsOfLease(size);
  const std::optional<Stop> overtaken =
      FindOvertaken(tenant, size, TakesOf(session, kind, size), now);
  if (overtaken.has_value() || !rates_.TryTake(tenant, amounts, now)) {
    return WhyNotYet(session, request, kind, size, overtaken, now);
  }
  if (auto grant = TryKept(session, request, kind, size, now)) {
    return LeaseAnswer(*std::move(grant));
  }
  std::optional<Charge> charge = DrawReserved(session, kind, size);
  const bool is_reserved = charge.has_value();
  const bool is_covered = is_reserved || ledger_.IsCovered(tenant, size);
  if (!is_reserved) {
    if (auto grant = TryClean(session, request, kind, size, now)) {
      return LeaseAnswer(*std::move(grant));
    }
    if (!ledger_.FindObstacle(tenant, size).has_value()) {
      charge = *ledger_.Take(tenant, size, request.size);
    }
  }
  if (charge.has_value()) {
    Ticket& ticket = AddTicket(session, request, kind, size, now);
    ticket.charge = *std::move(charge);
    ticket.is_covered = is_covered;
    if (TryRoom(ticket, now, effects)) return LeaseAnswer(ticket.id);
    VRAMPOOL_CHECK(!is_reserved);
    EraseTicket(ticket.id);
  }
  rates_.GiveBack(tenant, amounts);
  return WhyNotYet(session, request, kind, size, overtaken, now);
}

absl::Status Arbiter::WhyNotYet(const Session& session,
                                const LeaseRequest& request, HandleKind kind,
                                Bytes size,
                                const std::optional<Stop>& overtaken,
                                absl::Time now) {
  const TenantId tenant = session.tenant;
  const bool is_behind_credit =
      overtaken.has_value() && overtaken->lack == Lack::kCredit;
  if (TakesOf(session, kind, size) == Takes::kCredit) {
    return RefuseForRate(tenant, request.size, size, now);
  }
  if (QuotaInTheWay(tenant, size).has_value()) {
    return ledger_.Take(tenant, size, request.size).status();
  }
  const bool lacks_room = (overtaken.has_value() && !is_behind_credit) ||
                          !HasRoom(session, kind, size);
  if (!lacks_room &&
      (is_behind_credit || CreditLacking(tenant, size, now).has_value())) {
    return RefuseForRate(tenant, request.size, size, now);
  }
  return RefuseForRoom(tenant, request.size, size);
}

bool Arbiter::HasRoom(const Session& session, HandleKind kind,
                      Bytes size) const {
  return FindClean(session, kind, size) != nullptr ||
         (!ledger_.FindObstacle(session.tenant, size).has_value() &&
          size <= RoomFor(session.tenant));
}

Slab* Arbiter::FindParked(const Session& session, HandleKind kind,
                          Bytes size) const {
  for (const SlabId id : session.parked) {
    Slab* const slab = pool_.Find(id);
    if (slab->had_guests) continue;
    if (slab->kind == kind && slab->size == size) return slab;
  }
  return nullptr;
}

Slab* Arbiter::FindClean(const Session& session, HandleKind kind,
                         Bytes size) const {
  for (const auto& owner :
       {std::optional<TenantId>(session.tenant), std::optional<TenantId>()}) {
    Slab* const slab = pool_.FindClean(owner, kind, size);
    if (slab == nullptr) continue;
    if (ledger_.FindObstacle(session.tenant, slab->size).has_value()) continue;
    if (BurstsUnreclaimably(session.tenant, kind, slab->size)) continue;
    const bool is_all_free =
        ledger_.unfilled().is_zero() && reservations_.empty();
    if (is_all_free || slab->size <= RoomFor(session.tenant)) return slab;
  }
  return nullptr;
}

std::optional<LeaseGrant> Arbiter::TryKept(Session& session,
                                           const LeaseRequest& request,
                                           HandleKind kind, Bytes size,
                                           absl::Time now) {
  if (Slab* const slab = FindParked(session, kind, size)) {
    session.parked.erase(slab->id);
    Charge charge = std::move(slab->charge);  // It was charged all the time.
    return GrantSlab(session, *slab, std::move(charge), request, now);
  }
  for (const auto& owner :
       {std::optional<TenantId>(session.tenant), std::optional<TenantId>()}) {
    Slab* const slab = pool_.FindClean(owner, kind, size);
    if (slab == nullptr || slab->size != size) continue;
    std::optional<Charge> charge = DrawReserved(session, kind, size);
    if (!charge.has_value()) return std::nullopt;
    return GrantSlab(session, *slab, *std::move(charge), request, now);
  }
  return std::nullopt;
}

std::optional<LeaseGrant> Arbiter::TryClean(Session& session,
                                            const LeaseRequest& request,
                                            HandleKind kind, Bytes size,
                                            absl::Time now) {
  Slab* const slab = FindClean(session, kind, size);
  if (slab == nullptr) return std::nullopt;
  turns_.Serve(session.tenant, CostOf(session.tenant, slab->size));
  Charge charge = *ledger_.Take(session.tenant, slab->size, request.size);
  return GrantSlab(session, *slab, std::move(charge), request, now);
}

void Arbiter::FillNumbers(const Session& session, const LeaseRequest& request,
                          LeaseGrant& grant) const {
  grant.asked = request.size;
  grant.rounded =
      CheckedRoundUp(request.size, settings_.granule).value_or(grant.slab.size);
  grant.used = ledger_.used(session.tenant);
  grant.limit = ledger_.limit(session.tenant);
  grant.guarantee = ledger_.guarantee(session.tenant);
}

LeaseGrant Arbiter::GrantSlab(Session& session, Slab& slab, Charge charge,
                              const LeaseRequest& request, absl::Time now) {
  LeaseGrant grant;
  grant.lease = LeaseId{++last_lease_};
  grant.slab = {slab.id, slab.size, slab.kind,
                /*is_mapped=*/slab.state() == SlabState::kParked};
  slab.was_mapped = grant.slab.is_mapped;
  pool_.Move(slab, SlabState::kLeased, now);
  slab.tenant = session.tenant;
  slab.session = session.id;
  slab.lease = grant.lease;
  slab.request = request;
  slab.charge = std::move(charge);
  session.leases.emplace(grant.lease, slab.id);
  session.leases_by_key[request.key] = grant.lease;
  // From now on the client may map it, even if the handle's way is not known.
  Map(session, slab);
  FillNumbers(session, request, grant);
  ++counters_.leases_granted;
  return grant;
}

bool Arbiter::TryRoom(Ticket& ticket, absl::Time now, Effects& effects) {
  if (room() < promised() + ticket.size || !LeavesGuarantees(ticket)) {
    return false;
  }
  const Bytes wanted = assured_ + ticket.size;
  turns_.Serve(ticket.tenant, CostOf(ticket.tenant, ticket.size));
  EvictClean(wanted, now, effects);
  if (free() >= wanted) {
    StartCreate(ticket, now, effects);
  } else {
    SetState(ticket, TicketState::kAssured);
  }
  return true;
}

// The charge is taken already, so what it filled of a guarantee is not unfilled
// any more.
bool Arbiter::LeavesGuarantees(const Ticket& ticket) const {
  if (ticket.is_covered) return true;
  const Bytes left = SaturatingSub(room(), promised());
  return left >= ticket.size && left - ticket.size >= ledger_.unfilled();
}

void Arbiter::StartCreate(Ticket& ticket, absl::Time now, Effects& effects) {
  Slab& slab = pool_.Reserve(ticket.size, ticket.kind, now);
  SetState(ticket, TicketState::kCreating);
  creating_[slab.id] = ticket.id;
  effects.create.push_back({slab.id, slab.size, slab.kind});
}

// Makes clean slabs give way, the longest unused first, until `needed` bytes
// are free or about to be.
void Arbiter::EvictClean(Bytes needed, absl::Time now, Effects& effects) {
  while (SaturatingSub(pool_.free() + pool_.coming(), missing_) < needed) {
    Slab* const slab = pool_.OldestClean();
    if (slab == nullptr) return;
    Destroy(*slab, now, effects);
  }
}

absl::Status Arbiter::Return(SessionId id, LeaseId lease, ReturnMode mode,
                             absl::Time now, Effects& effects) {
  Session* const session = Find(id);
  if (session == nullptr || session->state == SessionState::kEnded) {
    return Refuse(Reason::kSessionEnded, "the session has ended");
  }
  const auto found = session->leases.find(lease);
  if (found == session->leases.end()) {
    return Refuse(
        Reason::kLeaseUnknown,
        absl::StrCat("the session has no lease ", static_cast<uint64_t>(lease),
                     "; it may have been returned already"));
  }
  Slab& slab = *pool_.Find(found->second);
  VRAMPOOL_RETURN_IF_ERROR(CheckLeaving(*session, slab));
  session->spent_keys.Add(slab.request.key);
  EndLease(*session, slab);
  session->is_asked = false;
  if (slab.objects > 0) {
    LeaveObjects(*session, slab, now);
    if (mode == ReturnMode::kUnmapped) {
      Unmap(*session, slab);
      EndUnheldIn({slab.id}, now, effects);
    }
  } else if (mode == ReturnMode::kStillMapped) {
    Park(*session, slab, now);
  } else {
    Unmap(*session, slab);
    Release(slab, now, effects);
  }
  effects.room_changed = true;
  Pump(now, effects);
  return absl::OkStatus();
}

void Arbiter::UndoLease(SessionId id, LeaseId lease, absl::Time now,
                        Effects& effects) {
  Session* const session = Find(id);
  if (session == nullptr) return;
  const auto found = session->leases.find(lease);
  if (found == session->leases.end()) return;
  Slab& slab = *pool_.Find(found->second);
  if (slab.objects > 0) return;  // Then the client knows it very well.
  // What was asked for was paid for: a clean slab may be larger.
  rates_.GiveBack(
      session->tenant,
      AmountsOfLease(CheckedRoundUp(slab.request.size, settings_.granule)
                         .value_or(slab.size)));
  EndLease(*session, slab);
  if (slab.was_mapped) {
    Park(*session, slab, now);  // Its mapping is older than the grant.
  } else {
    Unmap(*session, slab);
    Release(slab, now, effects);
  }
  Pump(now, effects);
}

absl::Status Arbiter::Fits(SessionId id, Bytes size, absl::Time now) const {
  VRAMPOOL_ASSIGN_OR_RETURN(const Session* const session, FindLive(id));
  LeaseRequest request;
  request.size = size;
  HandleKind kind{};
  Bytes rounded;
  VRAMPOOL_RETURN_IF_ERROR(CheckLeaseRequest(*session, request, kind, rounded));
  // As RequestLease() looks for room, in the same order.
  const TenantId tenant = session->tenant;
  const Takes takes = TakesOf(*session, kind, rounded);
  const bool has_room = takes == Takes::kCredit;
  if (!has_room && !ledger_.CouldEverTake(tenant, rounded)) {
    return Refuse(
        {.reason = Reason::kBadArgument,
         .asked = size,
         .limit = ledger_.effective_limit(tenant),
         .guarantee = ledger_.guarantee(tenant)},
        absl::StrCat(FormatBytes(size),
                     " can never fit: the tenant's limit is ",
                     FormatBytes(ledger_.effective_limit(tenant)), ", and ",
                     FormatBytes(ledger_.obtainable(tenant)),
                     " is the most that guarantees of others leave"));
  }
  if (!has_room && BurstsUnreclaimably(tenant, kind, rounded)) {
    return RefuseBurst(tenant, size, rounded);
  }
  const std::optional<Stop> overtaken =
      FindOvertaken(tenant, rounded, takes, now);
  const bool is_behind_room =
      overtaken.has_value() && overtaken->lack != Lack::kCredit;
  if (is_behind_room || (!has_room && !HasRoom(*session, kind, rounded))) {
    return Refuse(
        {.reason = Reason::kWaitedOut, .asked = size},
        absl::StrCat("there is no room for ", FormatBytes(size), " yet"));
  }
  if (overtaken.has_value() || CreditLacking(tenant, rounded, now)) {
    return FitsLater(tenant, size, rounded, TicketId{}, now);
  }
  return absl::OkStatus();
}

absl::StatusOr<Budget> Arbiter::GetBudget(SessionId id) const {
  VRAMPOOL_ASSIGN_OR_RETURN(const Session* const session, FindLive(id));
  Budget budget;
  budget.tenant = ledger_.path(session->tenant);
  budget.used = ledger_.used(session->tenant);
  budget.limit = ledger_.effective_limit(session->tenant);
  const Bytes room = RoomFor(session->tenant);
  budget.guarantee = ledger_.guarantee(session->tenant);
  budget.obtainable = ledger_.obtainable(session->tenant);
  budget.available = std::min(ledger_.available(session->tenant), room);
  budget.covered = std::min(ledger_.covered(session->tenant), budget.available);
  return budget;
}

}  // namespace vrampool
