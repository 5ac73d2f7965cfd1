// Objects and holds: see arbiter.h.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

constexpr size_t kMaxBuffers = 64;
constexpr size_t kMaxName = 255;
constexpr size_t kMaxMetadata = 64 << 10;
constexpr size_t kMaxGrants = 16;

absl::Status UnknownObject() {
  return Refuse(Reason::kObjectUnknown,
                "there is no such object: it has ended, was never shared, or "
                "the token is wrong");
}

absl::Status CheckShape(const ShareRequest& request) {
  if (request.buffers.empty() || request.buffers.size() > kMaxBuffers) {
    return Refuse(Reason::kBadArgument,
                  absl::StrCat("an object has 1 to ", kMaxBuffers,
                               " buffers, not ", request.buffers.size()));
  }
  if (request.name.size() > kMaxName ||
      request.name.find('\0') != std::string::npos) {
    return Refuse(
        Reason::kBadArgument,
        absl::StrCat("a name has at most ", kMaxName, " bytes and no NUL"));
  }
  if (request.name.empty() && request.lifetime != absl::InfiniteDuration()) {
    return Refuse(Reason::kBadArgument,
                  "an object without a name ends with its last hold and does "
                  "not expire; give a name, or no time");
  }
  if (request.metadata.size() > kMaxMetadata ||
      request.layout.size() > kMaxMetadata) {
    return Refuse({.reason = Reason::kLimitReached, .subject = "metadata"},
                  absl::StrCat("metadata and layout have at most ",
                               FormatBytes(Bytes(kMaxMetadata)), " each"));
  }
  if (request.grants.size() > kMaxGrants) {
    return Refuse({.reason = Reason::kLimitReached, .subject = "grants"},
                  absl::StrCat("an object is granted to at most ", kMaxGrants,
                               " tenants; name one above several of them"));
  }
  for (const std::string& grant : request.grants) {
    if (IsTenantPath(grant)) continue;
    return Refuse(Reason::kBadArgument,
                  "a grant is no tenant's path; use root/NAME/...");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<SlabId>> Arbiter::CheckShare(
    SessionId id, const ShareRequest& request) {
  VRAMPOOL_ASSIGN_OR_RETURN(Session* const session, FindLive(id));
  if (is_stopping_) {
    return Refuse(Reason::kShuttingDown, "the daemon is stopping");
  }
  VRAMPOOL_RETURN_IF_ERROR(CheckShape(request));
  std::vector<SlabId> slabs;
  for (const BufferRef& buffer : request.buffers) {
    const Slab* const slab = pool_.Find(buffer.slab);
    if (slab == nullptr || slab->state() != SlabState::kLeased ||
        slab->session != id) {
      return Refuse(Reason::kLeaseUnknown,
                    absl::StrCat("slab ", static_cast<uint64_t>(buffer.slab),
                                 " is not leased by this session; only the "
                                 "lessee can share a block"));
    }
    if (buffer.offset > slab->size.count() ||
        buffer.size.count() > slab->size.count() - buffer.offset) {
      return Refuse(Reason::kBadArgument,
                    "a buffer reaches beyond the end of its slab");
    }
    if (std::find(slabs.begin(), slabs.end(), slab->id) == slabs.end()) {
      slabs.push_back(slab->id);
    }
  }
  const Bounds& bounds = settings_.bounds;
  const uint32_t promised = promises_.CountOf(id);
  if (session->produced.size() + promised >= bounds.objects_per_session ||
      session->holds + promised >= bounds.holds_per_session) {
    return Refuse(
        {.reason = Reason::kLimitReached, .subject = "objects_per_session"},
        absl::StrCat("the session has ", session->produced.size(),
                     " objects and ", session->holds, " holds, ", promised,
                     " more are promised to it; close some first"));
  }
  VRAMPOOL_RETURN_IF_ERROR(CheckObjectBounds(session->tenant, request));
  return slabs;
}

absl::StatusOr<ShareGrant> Arbiter::Share(SessionId id, ShareRequest request,
                                          const ObjectSecret& secret,
                                          absl::Time now) {
  VRAMPOOL_ASSIGN_OR_RETURN(std::vector<SlabId> slabs, CheckShare(id, request));
  Session& session = *Find(id);
  VRAMPOOL_RETURN_IF_ERROR(objects_.CanAdd(session.tenant, request));
  const Object& object =
      EnterObject(session, std::move(request), std::move(slabs), secret, now,
                  /*promised=*/std::nullopt);
  return ShareGrant{object.id, secret};
}

Object& Arbiter::EnterObject(Session& session, ShareRequest request,
                             std::vector<SlabId> slabs,
                             const ObjectSecret& secret, absl::Time now,
                             std::optional<ObjectId> promised) {
  Object& object = objects_.Add(session.tenant, session.id, std::move(request),
                                std::move(slabs), secret, now, promised);
  for (const SlabId slab : object.slabs) ++pool_.Find(slab)->objects;
  session.produced.insert(object.id);
  session.held.insert(object.id);
  ++session.holds;
  return object;
}

absl::Status Arbiter::Ready(SessionId id, ObjectId object_id,
                            ReadyOutcome outcome, absl::Time now,
                            Effects& effects) {
  VRAMPOOL_ASSIGN_OR_RETURN(Session* const session, FindLive(id));
  if (NoteEarlyReady(id, object_id, outcome)) return absl::OkStatus();
  if (!session->produced.contains(object_id)) return UnknownObject();
  Object& object = *objects_.Find(object_id);
  if (object.phase != ObjectPhase::kPending) return absl::OkStatus();
  if (outcome == ReadyOutcome::kComplete) {
    TellKnown(object_id, objects_.MarkReady(object), effects);
    return absl::OkStatus();
  }
  TellKnown(object_id, objects_.MarkBroken(object), effects);
  TryEndObject(object, now, effects);
  Pump(now, effects);
  return absl::OkStatus();
}

void Arbiter::TellKnown(ObjectId object, const std::set<SessionId>& expecting,
                        Effects& effects) {
  effects.objects_changed = true;
  for (const SessionId opener : expecting) {
    effects.known.push_back({opener, object});
  }
}

// Or null; also for one that the session may not know of.
Object* Arbiter::FindNamed(const Session& session, const OpenRequest& request) {
  std::optional<TenantId> owner = session.tenant;
  if (!request.tenant.empty()) owner = ledger_.Find(request.tenant);
  if (!owner.has_value()) return nullptr;
  Object* const object = objects_.FindByName(*owner, request.name);
  if (object == nullptr || !MayOpen(session, *object)) return nullptr;
  return object;
}

// The object that the session may open; else why not.
absl::StatusOr<Object*> Arbiter::FindToOpen(const Session& session,
                                            const OpenRequest& request) {
  Object* object = nullptr;
  if (request.token.has_value()) {
    if (request.token->epoch != settings_.epoch) {
      return Refuse(Reason::kStaleEpoch,
                    "the token is from an earlier life of the daemon; the "
                    "object is gone");
    }
    object = objects_.Find(request.token->object);
    if (object == nullptr ||
        !IsSameSecret(object->secret, request.token->secret)) {
      return UnknownObject();
    }
  } else {
    object = FindNamed(session, request);
    if (object == nullptr) return UnknownObject();
  }
  if (!MayOpen(session, *object)) {
    return Refuse(Reason::kOtherTenant,
                  absl::StrCat("the object belongs to another tenant, which "
                               "has not granted it to ",
                               ledger_.path(session.tenant),
                               "; have it shared with that grant"));
  }
  if (object->phase == ObjectPhase::kBroken) {
    return Refuse(Reason::kObjectBroken,
                  "the object's producer died, or its work failed, before its "
                  "contents were ready");
  }
  if (object->phase == ObjectPhase::kPending && !request.takes_pending) {
    return Refuse(Reason::kWaitedOut,
                  "the object's contents are not ready yet; wait (wait_ms)");
  }
  return object;
}

absl::StatusOr<OpenGrant> Arbiter::Open(SessionId id,
                                        const OpenRequest& request,
                                        absl::Time now) {
  VRAMPOOL_ASSIGN_OR_RETURN(Session* const session, FindLive(id));
  if (is_stopping_) {
    return Refuse(Reason::kShuttingDown, "the daemon is stopping");
  }
  VRAMPOOL_ASSIGN_OR_RETURN(Object* const object,
                            FindToOpen(*session, request));
  const bool is_pending = object->phase == ObjectPhase::kPending;
  const uint32_t promised = promises_.CountOf(id);
  if (session->holds + promised >= settings_.bounds.holds_per_session) {
    return Refuse(
        {.reason = Reason::kLimitReached, .subject = "holds_per_session"},
        absl::StrCat("the session has ", session->holds, " holds, and ",
                     promised,
                     " promised to it, its bound; close some objects"));
  }
  std::vector<SlabGrant> slabs;
  for (const SlabId slab_id : object->slabs) {
    const Slab& slab = *pool_.Find(slab_id);
    slabs.push_back({slab.id, slab.size, slab.kind, slab.mappers.contains(id),
                     slab.tenant != session->tenant});
  }
  VRAMPOOL_RETURN_IF_ERROR(MapAll(*session, *object));
  objects_.AddHold(*object, id);
  if (is_pending) object->expecting.insert(id);
  object->last_opened_at = now;
  session->held.insert(object->id);
  ++session->holds;
  OpenGrant grant{.object = object->id,
                  .secret = object->secret,
                  .name = object->name,
                  .buffers = object->buffers,
                  .slabs = std::move(slabs),
                  .layout = object->layout,
                  .metadata = object->metadata,
                  .is_pending = is_pending,
                  .is_sealed = object->is_sealed};
  if (object->tenant != session->tenant) {
    grant.owner = ledger_.path(object->tenant);
  }
  return grant;
}

std::optional<ObjectId> Arbiter::ObjectOf(SessionId id,
                                          const OpenRequest& request) const {
  if (request.token.has_value()) return request.token->object;
  const absl::StatusOr<const Session*> session = FindLive(id);
  if (!session.ok()) return std::nullopt;
  const Object* const object =
      const_cast<Arbiter*>(this)->FindNamed(**session, request);
  if (object == nullptr) return std::nullopt;
  return object->id;
}

bool Arbiter::IsNeverReady(ObjectId object) const {
  const auto found = objects_.objects().find(object);
  return found != objects_.objects().end()
             ? found->second->phase == ObjectPhase::kBroken
             : objects_.HasEndedUnready(object);
}

absl::Status Arbiter::Exists(SessionId id, std::string_view name) const {
  VRAMPOOL_ASSIGN_OR_RETURN(const Session* const session, FindLive(id));
  if (is_stopping_) {
    return Refuse(Reason::kShuttingDown, "the daemon is stopping");
  }
  const Object* const object =
      const_cast<ObjectBook&>(objects_).FindByName(session->tenant, name);
  if (object == nullptr) return UnknownObject();
  if (object->phase == ObjectPhase::kPending) {
    return Refuse(Reason::kWaitedOut, "the object is not ready yet");
  }
  return absl::OkStatus();
}

void Arbiter::DropHold(Session& session, Object& object) {
  objects_.DropHold(object, session.id);
  --session.holds;
  if (!object.holds.contains(session.id)) session.held.erase(object.id);
}

absl::Status Arbiter::Close(SessionId id, ObjectId object_id, absl::Time now,
                            Effects& effects) {
  // Also for a condemned session: giving back is always welcome.
  Session* const session = Find(id);
  if (session == nullptr || session->state == SessionState::kEnded) {
    return Refuse(Reason::kSessionEnded, "the session has ended");
  }
  if (NoteEarlyClose(id, object_id)) return absl::OkStatus();
  if (!session->held.contains(object_id)) return UnknownObject();
  Object& object = *objects_.Find(object_id);
  DropHold(*session, object);
  TryEndObject(object, now, effects);
  Pump(now, effects);
  return absl::OkStatus();
}

absl::Status Arbiter::Unlink(SessionId id, std::string_view name,
                             absl::Time now, Effects& effects) {
  VRAMPOOL_ASSIGN_OR_RETURN(Session* const session, FindLive(id));
  Object* const object = objects_.FindByName(session->tenant, name);
  if (object == nullptr) return UnknownObject();
  objects_.TakeName(*object);
  TryEndObject(*object, now, effects);
  Pump(now, effects);
  return absl::OkStatus();
}

void Arbiter::ExpireNames(absl::Time now, Effects& effects) {
  bool has_any = false;
  while (Object* const object = objects_.FindExpired(now)) {
    has_any = true;
    objects_.TakeName(*object);
    TryEndObject(*object, now, effects);
  }
  if (has_any) Pump(now, effects);
}

void Arbiter::HoldReleased(SessionId id, ObjectId object_id, absl::Time now,
                           Effects& effects) {
  const Session* const session = Find(id);
  Object* const object = objects_.Find(object_id);
  if (session == nullptr || object == nullptr) return;
  if (object->tenant != session->tenant) return;
  TryEndObject(*object, now, effects);
  Pump(now, effects);
}

std::vector<SessionId> Arbiter::LiveMappers(const Object& object) const {
  std::vector<SessionId> live;
  for (const SlabId slab_id : object.slabs) {
    const auto found = pool_.slabs().find(slab_id);
    for (const SessionId mapper : found->second->mappers) {
      const auto session = sessions_.find(mapper);
      if (session == sessions_.end() ||
          session->second.tenant != object.tenant ||
          session->second.state == SessionState::kEnded) {
        continue;
      }
      if (std::find(live.begin(), live.end(), mapper) == live.end()) {
        live.push_back(mapper);
      }
    }
  }
  return live;
}

void Arbiter::TryEndObject(Object& object, absl::Time now, Effects& effects) {
  const ObjectId id = object.id;
  const SessionId producer = object.producer;
  const bool producer_is_live = object.producer_is_live;
  const std::vector<SlabId> slabs = object.slabs;
  Effects::Gone gone = {producer, ledger_.path(object.tenant), id,
                        object.size()};
  const bool has_ended = objects_.TryEnd(object, LiveMappers(object));
  Reckon(slabs);  // Its name may have gone.
  if (!has_ended) return;
  effects.gone.push_back(std::move(gone));
  if (producer_is_live) {
    Find(producer)->produced.erase(id);
    effects.ended.push_back({producer, id});
  }
  effects.objects_changed = true;
  AfterObjectEnded(slabs, now, effects);
}

void Arbiter::EndUnheldIn(const absl::flat_hash_set<SlabId>& slabs,
                          absl::Time now, Effects& effects) {
  if (slabs.empty()) return;
  std::vector<ObjectId> candidates;
  for (const auto& [id, object] : objects_.objects()) {
    if (!object->is_watched) continue;
    const auto is_there = [&slabs](SlabId slab) {
      return slabs.contains(slab);
    };
    if (std::any_of(object->slabs.begin(), object->slabs.end(), is_there)) {
      candidates.push_back(id);
    }
  }
  for (const ObjectId id : candidates) {
    TryEndObject(*objects_.Find(id), now, effects);
  }
}

void Arbiter::AfterObjectEnded(const std::vector<SlabId>& slabs, absl::Time now,
                               Effects& effects) {
  for (const SlabId id : slabs) {
    Slab& slab = *pool_.Find(id);
    --slab.objects;
    if (slab.objects == 0 && slab.state() == SlabState::kKept) {
      Destroy(slab, now, effects);
    }
  }
}

}  // namespace vrampool
