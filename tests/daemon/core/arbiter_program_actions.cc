// How each action is carried out, and what must hold of its answer.

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "daemon/core/refusal.h"
#include "tests/daemon/core/arbiter_program.h"

namespace vrampool::testing {
namespace {

constexpr std::array<std::string_view, 6> kTenants = {
    "root/a", "root/a/x", "root/b", "root/c", "root", "root//no"};
constexpr std::array<std::string_view, 5> kNames = {"", "", "model", "kv",
                                                    "grads"};

constexpr std::array<std::string_view, 6> kGrants = {
    "root/a", "root/b", "root", "root/c", "root/a/x", "root//no"};

// Every refusal that a client gets says why.
template <typename T>
bool IsOkOrRefused(const T& result) {
  return result.ok() || RefusalOf(result.status()).has_value();
}
bool IsOkOrRefused(const absl::Status& status) {
  return status.ok() || RefusalOf(status).has_value();
}

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

void ArbiterProgram::Do(const ShareBuffers& action) {
  const Lease first = PickLease(action.lease);
  const Lease second = PickLease(action.second_lease);
  ShareRequest request;
  request.buffers = {
      {.slab = first.slab, .offset = action.size, .size = KiB(4)}};
  if (action.second_lease % 2 == 0) {
    request.buffers.push_back(
        {.slab = second.slab,
         .offset = action.size == 255 ? UINT64_MAX : action.size,
         .size = Bytes(action.size == 254 ? UINT64_MAX : action.size)});
  }
  request.name = kNames[action.name % kNames.size()];
  request.metadata = std::string(action.size, 'm');
  request.is_pending = action.is_pending;
  request.is_sealed = action.size % 2 == 1;
  if (action.name % 2 == 0) {
    request.grants = {std::string(kGrants[action.size % kGrants.size()])};
  }
  if (action.size % 4 == 0) request.lifetime = absl::Seconds(action.size);
  const SessionId session =
      action.is_owner ? first.session : PickSession(action.session);
  ObjectSecret secret = {};
  secret[0] = ++last_secret_;
  const auto share = arbiter().Share(session, request, secret, world_->now);
  VRAMPOOL_CHECK(IsOkOrRefused(share));
  Absorb({});
  if (!share.ok()) return;
  objects_.push_back({.producer = session,
                      .grant = *share,
                      .grants = std::move(request.grants)});
  holds_.emplace_back(session, share->object);
}

void ArbiterProgram::Do(const SayReady& action) {
  const Shared shared = PickObject(action.object);
  Effects effects;
  const ReadyOutcome outcome =
      action.session % 8 == 7 ? ReadyOutcome::kFailed : ReadyOutcome::kComplete;
  VRAMPOOL_CHECK(IsOkOrRefused(arbiter().Ready(
      action.is_owner ? shared.producer : PickSession(action.session),
      shared.grant.object, outcome, world_->now, effects)));
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const OpenByToken& action) {
  const Shared shared = PickObject(action.object);
  const SessionId session = shared.grants.empty()
                                ? PickPeer(shared.producer, action.session)
                                : PickSession(action.session);
  ObjectToken token{.epoch = world_->settings().epoch,
                    .object = shared.grant.object,
                    .secret = shared.grant.secret};
  if (action.damage == 1) token.epoch = Epoch{99};
  if (action.damage == 2) token.secret[15] ^= 1;
  const bool takes_pending = action.damage >= 64;
  const auto grant = arbiter().Open(
      session, {.token = token, .name = "", .takes_pending = takes_pending},
      world_->now);
  VRAMPOOL_CHECK(IsOkOrRefused(grant));
  Absorb({});
  if (!grant.ok()) return;
  VRAMPOOL_CHECK(action.damage != 1 && action.damage != 2);
  VRAMPOOL_CHECK(MayOpen(session, shared));
  VRAMPOOL_CHECK(takes_pending || !grant->is_pending);
  ++coverage_.opened;
  const bool is_guest =
      clients_.at(session).tenant != clients_.at(shared.producer).tenant;
  VRAMPOOL_CHECK(is_guest == !grant->owner.empty());
  for (const SlabGrant& slab : grant->slabs) {
    VRAMPOOL_CHECK(slab.is_foreign == is_guest);
    if (is_guest) visited_.insert(slab.id);
  }
  coverage_.guests += is_guest ? 1 : 0;
  if (action.damage % 4 != 3) {
    holds_.emplace_back(session, grant->object);
    return;
  }
  // As a client opens what lies in a slab that it maps: a hold in its manifest.
  world_->oracle.holds.insert({session, grant->object});
  Effects effects;
  VRAMPOOL_CHECK(
      arbiter().Close(session, grant->object, world_->now, effects).ok());
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const OpenByName& action) {
  const std::string name(kNames[action.name % kNames.size()]);
  const SessionId session = PickSession(action.session);
  const absl::Status exists = arbiter().Exists(session, name);
  std::string tenant;
  if (action.name % 2 == 0) {
    tenant = kTenants[action.session % kTenants.size()];
  }
  const auto grant = arbiter().Open(
      session, {.token = std::nullopt, .name = name, .tenant = tenant},
      world_->now);
  VRAMPOOL_CHECK(IsOkOrRefused(grant));
  VRAMPOOL_CHECK(IsOkOrRefused(exists));
  VRAMPOOL_CHECK(!grant.ok() || exists.ok() || !tenant.empty());
  if (grant.ok()) holds_.emplace_back(session, grant->object);
  if (grant.ok() && !grant->owner.empty()) {
    ++coverage_.guests;
    for (const SlabGrant& slab : grant->slabs) visited_.insert(slab.id);
  }
  Absorb({});
}

void ArbiterProgram::Do(const CloseObject& action) {
  const ObjectId shared = PickObject(action.object).grant.object;
  std::pair<SessionId, ObjectId> hold(PickSession(action.session), shared);
  if (!holds_.empty() && action.session < 224) {
    const size_t back = action.object % std::min<size_t>(holds_.size(), 8);
    hold = holds_[holds_.size() - 1 - back];
  }
  Effects effects;
  const absl::Status status =
      arbiter().Close(hold.first, hold.second, world_->now, effects);
  VRAMPOOL_CHECK(IsOkOrRefused(status));
  // One of them, or none that was there.
  const auto known = std::find(holds_.begin(), holds_.end(), hold);
  if (known != holds_.end()) holds_.erase(known);
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const UnlinkName& action) {
  Effects effects;
  VRAMPOOL_CHECK(IsOkOrRefused(arbiter().Unlink(
      PickSession(action.session), kNames[action.name % kNames.size()],
      world_->now, effects)));
  Absorb(std::move(effects));
}

void ArbiterProgram::Do(const NamesExpire& action) {
  world_->now += absl::Seconds(action.seconds);
  Effects effects;
  const size_t before = CountNames();
  arbiter().ExpireNames(world_->now, effects);
  coverage_.expired += before - CountNames();
  Absorb(std::move(effects));
  for (const ObjectView& object : arbiter().TakeSnapshot(world_->now).objects) {
    VRAMPOOL_CHECK(object.expires_at > world_->now);
  }
}

size_t ArbiterProgram::CountNames() const {
  size_t names = 0;
  for (const ObjectView& object : arbiter().TakeSnapshot(world_->now).objects) {
    if (!object.name.empty()) ++names;
  }
  return names;
}

void ArbiterProgram::Do(const WriteHold& action) {
  const Shared shared = PickObject(action.object);
  world_->oracle.holds.insert(
      {PickPeer(shared.producer, action.session), shared.grant.object});
}

void ArbiterProgram::Do(const WipeHold& action) {
  const Shared shared = PickObject(action.object);
  const SessionId session = PickPeer(shared.producer, action.session);
  const ObjectId object = shared.grant.object;
  world_->oracle.holds.erase({session, object});
  if (!action.is_reported) return;
  Effects effects;
  arbiter().HoldReleased(session, object, world_->now, effects);
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
