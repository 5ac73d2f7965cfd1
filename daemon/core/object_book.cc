#include "daemon/core/object_book.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "daemon/core/refusal.h"
#include "proto/shm/object_table.h"

namespace vrampool {
namespace {

using shm::MakeSlotWord;
using shm::ObjectState;

ObjectState StateOf(const Object& object) {
  switch (object.phase) {
    case ObjectPhase::kPending:
      return object.is_watched ? ObjectState::kWatchedPending
                               : ObjectState::kPending;
    case ObjectPhase::kLive:
      return object.is_watched ? ObjectState::kWatched : ObjectState::kLive;
    case ObjectPhase::kBroken:
      break;
  }
  return ObjectState::kBroken;
}

}  // namespace

Bytes Object::size() const {
  Bytes sum;
  for (const BufferRef& buffer : buffers) sum += buffer.size;
  return sum;
}

bool IsGranted(const std::vector<std::string>& grants,
               const std::string& tenant) {
  return std::any_of(
      grants.begin(), grants.end(), [&tenant](const std::string& grant) {
        return tenant == grant || tenant.starts_with(grant + "/");
      });
}

ObjectBook::ObjectBook(const Bounds& bounds, ObjectTable& table,
                       HoldOracle& oracle)
    : slot_count_(bounds.objects),
      metadata_per_tenant_(bounds.metadata_per_tenant),
      table_(table),
      oracle_(oracle) {}

uint64_t ObjectBook::MetadataBytes(const Object& object) const {
  return DescriptionBytes(object).count();
}

bool ObjectBook::HasRoom() const {
  return !free_slots_.empty() || generations_.size() < slot_count_;
}

absl::Status ObjectBook::CanAdd(TenantId tenant,
                                const ShareRequest& request) const {
  if (!HasRoom()) {
    return Refuse({.reason = Reason::kLimitReached, .subject = "objects"},
                  absl::StrCat("the daemon has ", slot_count_,
                               " objects, its bound; close some, or raise "
                               "bounds.objects"));
  }
  return CanDescribe(tenant, request);
}

absl::Status ObjectBook::CanDescribe(TenantId tenant,
                                     const ShareRequest& request) const {
  if (!request.name.empty() && names_.contains({tenant, request.name})) {
    return Refuse(Reason::kNameTaken,
                  absl::StrCat("an object named '", request.name,
                               "' exists in this tenant; unlink it first or "
                               "choose another name"));
  }
  const auto found = counts_.find(tenant);
  const uint64_t used =
      found == counts_.end() ? 0 : found->second.metadata_bytes;
  const uint64_t more = DescriptionBytes(request).count();
  if (used + more > metadata_per_tenant_.count()) {
    return Refuse(
        {.reason = Reason::kLimitReached, .subject = "metadata"},
        absl::StrCat("the tenant's objects have ", FormatBytes(Bytes(used)),
                     " of metadata, ", FormatBytes(Bytes(more)),
                     " more would pass the bound of ",
                     FormatBytes(metadata_per_tenant_)));
  }
  return absl::OkStatus();
}

uint64_t ObjectBook::TakeSlot() {
  if (free_slots_.empty()) {
    generations_.push_back(1);
    has_ended_unready_.push_back(false);
    return generations_.size() - 1;
  }
  const uint64_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

ObjectId ObjectBook::Reserve() {
  const uint64_t slot = TakeSlot();
  ++reserved_;
  table_.Store(slot, MakeSlotWord(generations_[slot], ObjectState::kFree));
  return MakeObjectId(slot, generations_[slot]);
}

void ObjectBook::Release(ObjectId reserved) {
  --reserved_;
  Vacate(reserved, /*has_ended_unready=*/false);
}

// The id's slot is free for the next one. One whose generations are used up is
// never used again.
void ObjectBook::Vacate(ObjectId id, bool has_ended_unready) {
  const uint64_t slot = ObjectSlot(id);
  const uint64_t generation = ObjectGeneration(id) + 1;
  table_.Store(slot, MakeSlotWord(generation, ObjectState::kFree));
  generations_[slot] = generation;
  has_ended_unready_[slot] = has_ended_unready;
  if (generation < kMaxObjectGeneration) free_slots_.push_back(slot);
}

Object& ObjectBook::Add(TenantId tenant, SessionId producer,
                        ShareRequest request, std::vector<SlabId> slabs,
                        const ObjectSecret& secret, absl::Time now,
                        std::optional<ObjectId> reserved) {
  auto object = std::make_unique<Object>();
  if (reserved.has_value()) {
    --reserved_;
    object->id = *reserved;
  } else {
    const uint64_t slot = TakeSlot();
    object->id = MakeObjectId(slot, generations_[slot]);
  }
  object->secret = secret;
  object->name = std::move(request.name);
  object->tenant = tenant;
  object->grants = std::move(request.grants);
  object->producer = producer;
  object->buffers = std::move(request.buffers);
  object->slabs = std::move(slabs);
  object->layout = std::move(request.layout);
  object->metadata = std::move(request.metadata);
  object->phase =
      request.is_pending ? ObjectPhase::kPending : ObjectPhase::kLive;
  object->is_sealed = request.is_sealed;
  object->holds[producer] = 1;
  object->created_at = now;
  if (!object->name.empty()) object->expires_at = now + request.lifetime;
  ++counts_[tenant].objects;
  counts_[tenant].metadata_bytes += MetadataBytes(*object);
  EnterName(*object);
  Publish(*object);
  return *objects_.emplace(object->id, std::move(object)).first->second;
}

void ObjectBook::Restore(std::vector<Object> objects,
                         std::vector<uint64_t> generations) {
  VRAMPOOL_CHECK(objects_.empty() && generations_.empty());
  generations_ = std::move(generations);
  has_ended_unready_.resize(generations_.size());
  std::vector<bool> is_used(generations_.size());
  for (Object& object : objects) {
    is_used[ObjectSlot(object.id)] = true;
    ++counts_[object.tenant].objects;
    counts_[object.tenant].metadata_bytes += MetadataBytes(object);
    EnterName(object);
    Publish(object);
    const ObjectId id = object.id;
    objects_.emplace(id, std::make_unique<Object>(std::move(object)));
  }
  for (uint64_t slot = generations_.size(); slot-- > 0;) {
    if (is_used[slot]) continue;
    table_.Store(slot, MakeSlotWord(generations_[slot], ObjectState::kFree));
    if (generations_[slot] < kMaxObjectGeneration) free_slots_.push_back(slot);
  }
}

Object* ObjectBook::Find(ObjectId id) {
  const auto found = objects_.find(id);
  return found == objects_.end() ? nullptr : found->second.get();
}

Object* ObjectBook::FindByName(TenantId tenant, std::string_view name) {
  const auto found = names_.find({tenant, std::string(name)});
  return found == names_.end() ? nullptr : Find(found->second);
}

std::set<SessionId> ObjectBook::MarkReady(Object& object) {
  object.phase = ObjectPhase::kLive;
  Publish(object);
  return std::exchange(object.expecting, {});
}

std::set<SessionId> ObjectBook::MarkBroken(Object& object) {
  TakeName(object);
  object.phase = ObjectPhase::kBroken;
  Publish(object);
  return std::exchange(object.expecting, {});
}

void ObjectBook::EnterName(const Object& object) {
  if (object.name.empty()) return;
  names_[{object.tenant, object.name}] = object.id;
  for (const SlabId slab : object.slabs) ++named_in_[slab];
  if (object.expires_at == absl::InfiniteFuture()) return;
  expiries_.insert({object.expires_at, object.id});
}

void ObjectBook::TakeName(Object& object) {
  if (object.name.empty()) return;
  names_.erase({object.tenant, object.name});
  for (const SlabId slab : object.slabs) {
    if (--named_in_.at(slab) == 0) named_in_.erase(slab);
  }
  expiries_.erase({object.expires_at, object.id});
  object.name.clear();
  object.expires_at = absl::InfiniteFuture();
}

Object* ObjectBook::FindExpired(absl::Time now) {
  if (expiries_.empty() || expiries_.begin()->first > now) return nullptr;
  return Find(expiries_.begin()->second);
}

void ObjectBook::AddHold(Object& object, SessionId session) {
  ++object.holds[session];
  if (object.is_watched) {
    object.is_watched = false;
    Publish(object);
  }
}

void ObjectBook::DropHold(Object& object, SessionId session) {
  const auto found = object.holds.find(session);
  VRAMPOOL_CHECK(found != object.holds.end());
  if (--found->second == 0) DropAllHolds(object, session);
}

void ObjectBook::DropAllHolds(Object& object, SessionId session) {
  object.holds.erase(session);
  object.expecting.erase(session);
}

bool ObjectBook::TryEnd(Object& object,
                        const std::vector<SessionId>& sessions) {
  if (!object.holds.empty() || !object.name.empty()) return false;
  const uint64_t slot = ObjectSlot(object.id);
  const uint64_t generation = ObjectGeneration(object.id);
  // Nobody opens a broken one any more: its word says so already.
  if (object.phase != ObjectPhase::kBroken) {
    table_.Store(slot, MakeSlotWord(generation, ObjectState::kRetiring));
  }
  if (oracle_.IsHeld(object.id, sessions)) {
    object.is_watched = true;
    Publish(object);
    return false;
  }
  Vacate(object.id, object.phase != ObjectPhase::kLive);
  Count& count = counts_[object.tenant];
  count.metadata_bytes -= MetadataBytes(object);
  if (--count.objects == 0) counts_.erase(object.tenant);
  objects_.erase(object.id);
  return true;
}

bool ObjectBook::HasEndedUnready(ObjectId id) const {
  const uint64_t slot = ObjectSlot(id);
  return slot < generations_.size() &&
         generations_[slot] == ObjectGeneration(id) + 1 &&
         has_ended_unready_[slot];
}

void ObjectBook::Publish(const Object& object) {
  table_.Store(ObjectSlot(object.id),
               MakeSlotWord(ObjectGeneration(object.id), StateOf(object)));
}

void ObjectBook::CheckInvariants() const {
  std::map<TenantId, Count> counts;
  std::map<SlabId, uint32_t> named_in;
  size_t named = 0;
  size_t expiring = 0;
  for (const auto& [id, object] : objects_) {
    VRAMPOOL_CHECK(!object->holds.empty() || !object->name.empty() ||
                   object->is_watched);
    if (!object->name.empty()) {
      ++named;
      for (const SlabId slab : object->slabs) ++named_in[slab];
      VRAMPOOL_CHECK(names_.at({object->tenant, object->name}) == id);
    }
    if (object->expires_at != absl::InfiniteFuture()) {
      ++expiring;
      VRAMPOOL_CHECK(!object->name.empty());
      VRAMPOOL_CHECK(expiries_.contains({object->expires_at, id}));
    }
    ++counts[object->tenant].objects;
    counts[object->tenant].metadata_bytes += MetadataBytes(*object);
    for (const SessionId session : object->expecting) {
      VRAMPOOL_CHECK(object->phase == ObjectPhase::kPending);
      VRAMPOOL_CHECK(object->holds.contains(session));
    }
  }
  VRAMPOOL_CHECK(named == names_.size());
  VRAMPOOL_CHECK(named_in == named_in_);
  VRAMPOOL_CHECK(expiring == expiries_.size());
  VRAMPOOL_CHECK(counts == counts_);
  CheckSlots();
}

void ObjectBook::CheckSlots() const {
  std::vector<bool> is_used(generations_.size());
  uint64_t worn_out = 0;
  for (const auto& [id, object] : objects_) {
    VRAMPOOL_CHECK(generations_.at(ObjectSlot(id)) == ObjectGeneration(id));
    is_used.at(ObjectSlot(id)) = true;
  }
  for (const uint64_t slot : free_slots_) {
    VRAMPOOL_CHECK(!is_used.at(slot));
    is_used[slot] = true;
  }
  for (const uint64_t generation : generations_) {
    if (generation >= kMaxObjectGeneration) ++worn_out;
  }
  VRAMPOOL_CHECK(objects_.size() + free_slots_.size() + reserved_ + worn_out ==
                 generations_.size());
}

}  // namespace vrampool
