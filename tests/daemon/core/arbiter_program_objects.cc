// How actions on objects are carried out, and what must hold of their answers.

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "tests/daemon/core/arbiter_program.h"
#include "tests/daemon/core/arbiter_program_choices.h"

namespace vrampool::testing {

void ArbiterProgram::Do(const ShareBuffers& action) {
  if (action.second_lease % 4 == 1 && !unused_.empty()) {
    return UsePromise(action);
  }
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
  TakePromises(session);
}

// Calls about them may come before they are used, so they count as shared.
void ArbiterProgram::TakePromises(SessionId session) {
  std::vector<ObjectSecret> secrets(arbiter().PromisesWanted(session));
  for (ObjectSecret& secret : secrets) secret[0] = ++last_secret_;
  for (const PromisedObject& promise :
       arbiter().GivePromises(session, secrets)) {
    unused_.emplace_back(session, promise.object);
    objects_.push_back({.producer = session, .grant = promise});
    holds_.emplace_back(session, promise.object);
  }
  Absorb({});
}

void ArbiterProgram::UsePromise(const ShareBuffers& action) {
  const size_t which = action.name % unused_.size();
  const auto [owner, object] = unused_[which];
  Lease lease = PickLease(action.lease);
  for (const Lease& one : leases_) {
    if (one.session == owner && action.is_owner) lease = one;
  }
  const SessionId session =
      action.is_owner ? owner : PickSession(action.session);
  Effects effects;
  const Fulfilment made = arbiter().Fulfil(
      session,
      {.object = object,
       .buffer = {.slab = lease.slab, .offset = action.size, .size = KiB(4)},
       .is_pending = action.is_pending,
       .is_sealed = action.size % 2 == 1,
       .layout = std::string(action.size % 3 * 14, 'l')},
      world_->now, effects);
  VRAMPOOL_CHECK(IsOkOrRefused(made.made));
  VRAMPOOL_CHECK(session == owner || !made.was_promised);
  if (made.was_promised && made.made.ok()) ++coverage_.fulfilled;
  if (session == owner) {  // Else it is there still; or it ended with him.
    unused_.erase(unused_.begin() + static_cast<ptrdiff_t>(which));
  }
  Absorb(std::move(effects));
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

}  // namespace vrampool::testing
