// How each action is carried out, and what must hold of its answer.

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "daemon/core/refusal.h"
#include "tests/daemon/core/arbiter_program.h"
#include "tests/daemon/core/arbiter_program_choices.h"

namespace vrampool::testing {
namespace {

std::array<RateSetting, kRateKinds> RatesOf(uint8_t choice) {
  std::array<RateSetting, kRateKinds> rates;
  auto& [leases, bytes, rpcs] = rates;
  const bool is_lifted = choice % 4 == 0;
  leases.per_second = is_lifted ? 0u : choice % 3u;
  leases.burst = 1u + choice % 2u;
  bytes.per_second = is_lifted ? 0u : Slabs(choice % 5u).count();
  bytes.burst = Slabs(1u + choice % 6u).count();
  rpcs.per_second = choice % 2u;
  return rates;
}

absl::Status OutcomeOf(uint8_t choice) {
  if (choice < 208) return absl::OkStatus();
  if (choice < 232) return absl::ResourceExhaustedError("no room");
  return absl::InternalError("the driver failed");
}

}  // namespace

void ArbiterProgram::Do(const AttachClient& action) {
  PeerIdentity peer;
  peer.uid = uid_t{1000} + action.uid % 3;
  const std::string_view tenant = kTenants[action.tenant % kTenants.size()];
  const auto session = arbiter().Attach(peer, {}, tenant, world_->now);
  Absorb({});
  if (!session.ok()) {
    VRAMPOOL_CHECK(IsOkOrRefused(session));
    return;
  }
  VRAMPOOL_CHECK(!clients_.contains(*session));
  clients_[*session] = {.id = *session, .tenant = tenant};
  order_.push_back(*session);
}

void ArbiterProgram::Do(const AskForLease& action) {
  const SessionId session = PickSession(action.session);
  LeaseRequest request;
  const bool repeats = action.repeats_key && !requests_.empty();
  if (repeats) {
    request = requests_[action.kind % requests_.size()];
    if (action.kind >= 192) request.size = PickSize(action.size);
  } else {
    request.size = PickSize(action.size);
    request.kind = HandleKind{action.kind % 8u < 6 ? 0u : action.kind % 8u - 3};
    ++last_key_;
    std::memcpy(request.key.data(), &last_key_, sizeof(last_key_));
    requests_.push_back(request);
  }
  ServeDue();
  const absl::Status fits = arbiter().Fits(session, request.size, world_->now);
  const bool is_promised = IsPromised(session, request);
  Effects effects;
  const auto answer = arbiter().RequestLease(
      session, request,
      action.may_wait ? WaitMode::kMayWait : WaitMode::kFailFast, world_->now,
      effects);
  VRAMPOOL_CHECK(IsOkOrRefused(answer));
  if (is_promised && !answer.ok()) {
    const Reason why = RefusalOf(answer.status())->reason;
    VRAMPOOL_CHECK(why != Reason::kQuotaExceeded &&
                   why != Reason::kPoolExhausted);
  }
  if (is_promised && answer.ok()) ++coverage_.promises;
  if (!repeats && request.kind == HandleKind::kNone) {
    VRAMPOOL_CHECK(!fits.ok() || answer.ok());
    VRAMPOOL_CHECK(fits.ok() || action.may_wait || !answer.ok());
  }
  if (!answer.ok()) {
    VRAMPOOL_CHECK(effects.create.empty() && effects.settled.empty());
  } else if (const auto* const grant = std::get_if<LeaseGrant>(&*answer)) {
    if (!repeats) CheckGrant(session, request, *grant);
  } else {
    const TicketId ticket = std::get<TicketId>(*answer);
    const bool is_new = tickets_.try_emplace(ticket, session, request).second;
    VRAMPOOL_CHECK(is_new || repeats);
  }
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const ReserveRoom& action) {
  const SessionId session = PickSession(action.session);
  const ReserveRequest request{.size = PickSize(action.size),
                               .kind = HandleKind::kNone,
                               .hold = absl::Seconds(action.hold % 32)};
  Effects effects;
  const auto grant = arbiter().Reserve(session, request, world_->now, effects);
  VRAMPOOL_CHECK(IsOkOrRefused(grant));
  if (grant.ok()) {
    ++coverage_.reservations;
    // What is reserved can be leased, as fast as the rates let it through.
    const absl::Status fits =
        arbiter().Fits(session, request.size, world_->now);
    VRAMPOOL_CHECK(fits.ok() || arbiter().ViewOf(session).leases >= 6 ||
                   RefusalOf(fits)->retry_after.has_value());
  }
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const ReleaseRoom& action) {
  const auto all = arbiter().TakeSnapshot(world_->now).reservations;
  if (all.empty()) return;
  const ReservationView& view = all[action.which % all.size()];
  const SessionId session =
      action.session < 224 ? view.session : PickSession(action.session);
  Effects effects;
  VRAMPOOL_CHECK(IsOkOrRefused(
      arbiter().ReleaseReservation(session, view.id, world_->now, effects)));
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const GiveUpWaiting& action) {
  if (tickets_.empty()) return;
  auto at = tickets_.begin();
  std::advance(at, action.ticket % tickets_.size());
  const TicketId ticket = at->first;
  VRAMPOOL_CHECK(IsOkOrRefused(arbiter().WaitedOut(ticket, world_->now)));
  Effects effects;
  if (arbiter().CancelTicket(ticket, world_->now, effects)) {
    cancelled_.insert(ticket);
    tickets_.erase(at);
  } else {
    promised_.insert(ticket);
  }
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const GiveBack& action) {
  const Lease lease = PickLease(action.lease);
  const SessionId session =
      action.is_owner ? lease.session : PickSession(action.session);
  Effects effects;
  const absl::Status status = arbiter().Return(
      session, lease.id,
      action.is_mapped ? ReturnMode::kStillMapped : ReturnMode::kUnmapped,
      world_->now, effects);
  VRAMPOOL_CHECK(IsOkOrRefused(status));
  VRAMPOOL_CHECK(!status.ok() || session == lease.session);
  if (status.ok()) EndLeases(session, lease.id);
  Absorb(std::move(effects));
  for (const SlabView& slab : arbiter().TakeSnapshot(world_->now).slabs) {
    if (status.ok() && slab.id == lease.slab && slab.objects > 0) {
      ++coverage_.left;
    }
    if (slab.payer != slab.tenant && !slab.payer.empty()) {
      ++coverage_.passed_on;
    }
  }
}

void ArbiterProgram::Do(const UndoGrant& action) {
  const Lease lease = PickLease(action.lease);
  Effects effects;
  arbiter().UndoLease(lease.session, lease.id, world_->now, effects);
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const SayUnmapped& action) {
  std::vector<SlabId> slabs;
  for (unsigned i = 0; i < action.count % 8u; ++i) {
    slabs.push_back(PickSlab(static_cast<uint8_t>(action.first + i)));
  }
  const auto lessee = first_lessee_.find(PickSlab(action.first));
  const SessionId session = lessee == first_lessee_.end()
                                ? PickSession(action.session)
                                : PickPeer(lessee->second, action.session);
  Effects effects;
  const auto kept =
      arbiter().ReportUnmapped(session, slabs, world_->now, effects);
  VRAMPOOL_CHECK(IsOkOrRefused(kept));
  VRAMPOOL_CHECK(!kept.ok() || *kept <= slabs.size());
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const DeviceMakes& action) {
  if (world_->creates.empty()) return;
  auto at = world_->creates.begin();
  std::advance(at, action.which % world_->creates.size());
  world_->FinishCreate(at->first, OutcomeOf(action.outcome));
  CheckSettled();
}

void ArbiterProgram::Do(const DeviceGivesUp& action) {
  if (world_->destroys.empty()) return;
  auto at = world_->destroys.begin();
  std::advance(at, action.which % world_->destroys.size());
  const SlabId slab = *at;
  const absl::Status outcome = OutcomeOf(action.outcome);
  world_->FinishDestroy(slab, outcome);
  if (!outcome.ok()) ++coverage_.failed_destroys;
  for (const SlabView& view : arbiter().TakeSnapshot(world_->now).slabs) {
    if (view.id == slab && view.state == SlabState::kLingering) {
      ++coverage_.lingered;
    }
  }
  CheckSettled();
}

void ArbiterProgram::Do(const RetryDevice&) {
  Effects effects;
  arbiter().RetryDestroys(effects);
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const SocketEnds& action) {
  const Client& client = PickClient(action.session);
  if (!client.is_witness) EndSocket(client.id);
}

void ArbiterProgram::Do(const ProcessEnds& action) {
  const Client& client = PickClient(action.session);
  if (!client.is_witness) EndProcess(client.id);
}

void ArbiterProgram::EndSocket(SessionId id) {
  // What it mapped must never be handed out again.
  for (const SlabView& slab : arbiter().TakeSnapshot(world_->now).slabs) {
    for (const SessionId mapper : slab.mapped_by) {
      if (mapper == id) spoiled_.insert(slab.id);
    }
  }
  EndLeases(id, std::nullopt);
  Effects effects;
  arbiter().SocketClosed(id, world_->now, effects);
  Absorb(std::move(effects));
}

void ArbiterProgram::EndProcess(SessionId id) {
  Effects effects;
  arbiter().ProcessGone(id, world_->now, effects);
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const CondemnClient& action) {
  const Client& client = PickClient(action.session);
  if (client.is_witness) return;
  Effects effects;
  arbiter().Condemn(client.id, world_->now, effects);
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const ChangeQuota& action) {
  const Bytes few = Slabs(action.value % 3u);
  const Bytes more = Slabs(2u + action.value % 20u);
  Quota change;
  switch (action.what % 8) {
    case 0:
      change.guarantee = few;
      break;
    case 1:
      change = {.limit = more, .guarantee = few};
      break;
    case 2:
      change.priority = action.value % 5 - 2;
      break;
    case 3:
      change.weight = 1u + action.value % 4u;
      break;
    case 5:
      change.evict = action.value % 4 != 0;
      break;
    case 6:
      change.rates = RatesOf(action.value);
      break;
    case 4:
      change.lends = action.value % 4 == 0;
      break;
    default:
      change.limit = action.value < 32 ? few : more;
  }
  Effects effects;
  const absl::Status status = arbiter().SetQuota(
      kTenants[action.tenant % kTenants.size()], change, world_->now, effects);
  VRAMPOOL_CHECK(IsOkOrRefused(status));
  if (status.ok()) ++coverage_.quotas;
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const TimePasses& action) {
  world_->now += absl::Seconds(action.seconds % 16);
  ServeDue();
  Effects effects;
  arbiter().Tick(world_->now, effects);
  std::vector<SessionId> killed;
  VRAMPOOL_CHECK(effects.evict.size() <= 1);
  for (const Effects::Evict& evict : effects.evict) {
    ++coverage_.evictions;
    VRAMPOOL_CHECK(arbiter().ViewOf(evict.victim).state ==
                   SessionState::kCondemned);
    VRAMPOOL_CHECK(!evict.charged.is_zero());
    // Where the kernel forbids it, it lives on.
    if (action.seconds % 4 != 0 && !clients_.at(evict.victim).is_witness) {
      killed.push_back(evict.victim);
    }
  }
  Absorb(std::move(effects));
  for (const SessionId victim : killed) {
    EndSocket(victim);
    EndProcess(victim);
  }
}

void ArbiterProgram::Do(const LoseDevice&) {
  Effects effects;
  arbiter().OnDeviceLost("lost", effects);
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const StopDaemon&) {
  Effects effects;
  arbiter().BeginShutdown(effects);
  Absorb(std::move(effects));
}

}  // namespace vrampool::testing
