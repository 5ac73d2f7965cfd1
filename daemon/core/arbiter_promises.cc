// Objects that clients share without a call, of promises: see promise_book.h.
//
// A session that shares by calls is given promises, a few at a time and more
// when half of them are used. They count as objects and holds of the session,
// and their slots are nobody else's, so that what was promised can be kept:
// when the client uses one, the object is made, unless what it is made of is
// not what Share() takes. None are given where the numbers are tight: above
// half of the daemon's objects or of a tenant's metadata, and in tenants with a
// quota of objects or metadata or a rate of calls, which a message would go
// around. A quota that is set later counts when an old promise is used.

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/check.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {

// Quotas of objects and metadata and a rate of calls are to be exact, for the
// tenant itself and for those above it.
bool Arbiter::MayHavePromises(TenantId tenant) const {
  for (std::optional<TenantId> at = tenant; at; at = ledger_.parent(*at)) {
    const Rate& calls =
        ledger_.resolved(*at).rates[static_cast<size_t>(RateKind::kRpcs)];
    const Quota& quota = ledger_.quota(*at);
    if (quota.objects.has_value() || quota.metadata.has_value() ||
        calls.is_bound()) {
      return false;
    }
  }
  return true;
}

uint32_t Arbiter::PromisesWanted(SessionId id) const {
  const absl::StatusOr<const Session*> session = FindLive(id);
  const Bounds& bounds = settings_.bounds;
  const uint32_t most = PromiseBook::MostOf(bounds);
  const uint32_t outstanding = promises_.CountOf(id);
  if (!session.ok() || is_stopping_ || outstanding > most / 2 ||
      outstanding >= most || !MayHavePromises((*session)->tenant)) {
    return 0;
  }
  const uint64_t in_all = objects_.objects().size() + promises_.size();
  if (in_all > bounds.objects / 2) return 0;
  const auto described = objects_.counts().find((*session)->tenant);
  if (described != objects_.counts().end() &&
      described->second.metadata_bytes >
          bounds.metadata_per_tenant.count() / 2) {
    return 0;
  }
  const uint64_t objects = (*session)->produced.size() + outstanding;
  const uint64_t holds = uint64_t{(*session)->holds} + outstanding;
  if (objects >= bounds.objects_per_session ||
      holds >= bounds.holds_per_session) {
    return 0;
  }
  return static_cast<uint32_t>(
      std::min<uint64_t>({most - outstanding, bounds.objects - in_all,
                          bounds.objects_per_session - objects,
                          bounds.holds_per_session - holds}));
}

std::vector<PromisedObject> Arbiter::GivePromises(
    SessionId id, const std::vector<ObjectSecret>& secrets) {
  std::vector<PromisedObject> given;
  const size_t count = std::min<size_t>(secrets.size(), PromisesWanted(id));
  while (given.size() < count && objects_.HasRoom()) {
    const Promise promise = {.object = objects_.Reserve(),
                             .secret = secrets[given.size()],
                             .session = id,
                             .tenant = Find(id)->tenant};
    promises_.Add(promise);
    given.push_back({promise.object, promise.secret});
  }
  return given;
}

void Arbiter::TakeBackPromised(SessionId id,
                               const std::vector<PromisedObject>& promised,
                               Effects& effects) {
  for (const PromisedObject& one : promised) {
    if (promises_.FindOf(id, one.object) == nullptr) continue;
    ReleasePromise(one.object, effects);
  }
}

void Arbiter::ReleasePromise(ObjectId object, Effects& effects) {
  promises_.Take(object);
  objects_.Release(object);
  effects.objects_changed = true;  // Somebody may wait to open it.
}

void Arbiter::ReleasePromisesOf(const Session& session, Effects& effects) {
  for (const ObjectId object : promises_.Of(session.id)) {
    ReleasePromise(object, effects);
  }
}

bool Arbiter::IsPromised(SessionId id, const OpenRequest& request) const {
  const absl::StatusOr<const Session*> session = FindLive(id);
  if (is_stopping_ || !session.ok() || !request.token.has_value() ||
      request.token->epoch != settings_.epoch) {
    return false;
  }
  const Promise* const promise = promises_.Find(request.token->object);
  return promise != nullptr && FindLive(promise->session).ok() &&
         promise->tenant == (*session)->tenant &&
         IsSameSecret(promise->secret, request.token->secret);
}

Fulfilment Arbiter::Fulfil(SessionId id, const PromisedShare& share,
                           absl::Time now, Effects& effects) {
  if (promises_.FindOf(id, share.object) == nullptr) {
    return {.was_promised = false, .made = absl::OkStatus()};
  }
  ShareRequest request;
  request.buffers = {share.buffer};
  request.layout = share.layout;
  request.is_pending = share.is_pending;
  request.is_sealed = share.is_sealed;
  // It is an object and a hold from here on, or neither: while it is checked it
  // counts as neither.
  const Promise promise = promises_.Take(share.object);
  absl::StatusOr<std::vector<SlabId>> slabs = CheckShare(id, request);
  if (slabs.ok()) {
    const absl::Status described =
        objects_.CanDescribe(promise.tenant, request);
    if (!described.ok()) slabs = described;
  }
  effects.objects_changed = true;
  if (!slabs.ok()) {
    objects_.Release(promise.object);
    effects.ended.push_back({id, promise.object});
    return {.made = slabs.status()};
  }
  Object& object = EnterObject(*Find(id), std::move(request), *std::move(slabs),
                               promise.secret, now, promise.object);
  ApplyEarlyCalls(promise, object, now, effects);
  return {.made = absl::OkStatus()};
}

// What the producer's calls said before the object was there.
void Arbiter::ApplyEarlyCalls(const Promise& promise, Object& object,
                              absl::Time now, Effects& effects) {
  if (promise.ready.has_value()) {
    // Its producer holds it, so it does not end by this.
    (void)Ready(promise.session, promise.object, *promise.ready, now, effects);
  }
  if (!promise.is_closed) return;
  DropHold(*Find(promise.session), object);
  TryEndObject(object, now, effects);
  Pump(now, effects);
}

bool Arbiter::NoteEarlyReady(SessionId id, ObjectId object,
                             ReadyOutcome outcome) {
  Promise* const promise = promises_.FindOf(id, object);
  if (promise == nullptr || promise->is_closed) return false;
  if (!promise->ready.has_value()) promise->ready = outcome;
  return true;
}

bool Arbiter::NoteEarlyClose(SessionId id, ObjectId object) {
  Promise* const promise = promises_.FindOf(id, object);
  if (promise == nullptr || promise->is_closed) return false;
  promise->is_closed = true;
  return true;
}

void Arbiter::CheckPromises() const {
  promises_.CheckInvariants();
  VRAMPOOL_CHECK(objects_.reserved() == promises_.size());
  const Bounds& bounds = settings_.bounds;
  for (const auto& [object, promise] : promises_.promises()) {
    const Session& session = sessions_.at(promise.session);
    const uint64_t outstanding = promises_.CountOf(promise.session);
    VRAMPOOL_CHECK(session.state != SessionState::kEnded);
    VRAMPOOL_CHECK(session.tenant == promise.tenant);
    VRAMPOOL_CHECK(!objects_.objects().contains(object));
    VRAMPOOL_CHECK(objects_.generations().at(ObjectSlot(object)) ==
                   ObjectGeneration(object));
    VRAMPOOL_CHECK(outstanding <= PromiseBook::MostOf(bounds));
    VRAMPOOL_CHECK(session.produced.size() + outstanding <=
                   bounds.objects_per_session);
    VRAMPOOL_CHECK(session.holds + outstanding <= bounds.holds_per_session);
  }
}

}  // namespace vrampool
