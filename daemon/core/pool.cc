#include "daemon/core/pool.h"

#include <utility>

#include "base/check.h"

namespace vrampool {
namespace {

using S = SlabState;

// The one table of legal moves; see the picture of a slab's life in
// docs/design.md.
constexpr std::pair<S, S> kMoves[] = {
    {S::kCreating, S::kClean},        // Made ahead, or its caller left.
    {S::kCreating, S::kLeased},       // Made for a lease.
    {S::kClean, S::kLeased},          //
    {S::kClean, S::kDestroying},      // Somebody else needs the room.
    {S::kLeased, S::kClean},          // Returned unmapped.
    {S::kLeased, S::kParked},         // Returned while mapped.
    {S::kLeased, S::kKept},           // Lessee ended, objects live on.
    {S::kLeased, S::kDestroying},     // Lessee ended, or others still map it.
    {S::kParked, S::kLeased},         // Leased again by the same session.
    {S::kParked, S::kClean},          // Unmapped at last.
    {S::kParked, S::kDestroying},     //
    {S::kKept, S::kDestroying},       // Its last object has ended.
    {S::kDestroying, S::kLingering},  // Gone, but still mapped somewhere.
};

bool IsMove(S from, S to) {
  for (const auto& move : kMoves) {
    if (move == std::pair(from, to)) return true;
  }
  return false;
}

}  // namespace

Pool::Pool(Bytes capacity) : capacity_(capacity), free_(capacity) {}

Pool::CleanKey Pool::KeyOf(const Slab& slab) {
  const uint64_t tenant =
      slab.tenant.has_value()
          ? uint64_t{static_cast<uint32_t>(*slab.tenant)} + 1
          : 0;
  return {tenant, slab.kind, slab.size, slab.id};
}

Slab& Pool::Reserve(Bytes size, HandleKind kind, absl::Time now) {
  VRAMPOOL_CHECK(!size.is_zero() && size <= free_);
  const SlabId id{++last_id_};
  auto slab = std::make_unique<Slab>(id, size, kind);
  slab->since_ = now;
  free_ -= size;
  bytes_in(S::kCreating) += size;
  return *slabs_.emplace(id, std::move(slab)).first->second;
}

Slab& Pool::Restore(SlabId id, Bytes size, HandleKind kind,
                    std::optional<TenantId> tenant, SlabState state,
                    absl::Time since) {
  VRAMPOOL_CHECK(!size.is_zero() && size <= free_);
  auto owned = std::make_unique<Slab>(id, size, kind);
  Slab& slab = *owned;
  slab.tenant = tenant;
  slab.state_ = state;
  slab.since_ = since;
  VRAMPOOL_CHECK(slabs_.emplace(id, std::move(owned)).second);
  free_ -= size;
  bytes_in(state) += size;
  Index(slab);
  return slab;
}

void Pool::Index(const Slab& slab) {
  if (slab.state_ == S::kClean) {
    clean_.insert(KeyOf(slab));
    clean_by_age_.insert({slab.since_, slab.id});
  }
  if (slab.state_ == S::kDestroying) destroying_.insert(slab.id);
}

void Pool::Move(Slab& slab, SlabState to, absl::Time now) {
  VRAMPOOL_CHECK(IsMove(slab.state_, to));
  VRAMPOOL_CHECK(to != S::kClean || slab.mappers.empty());
  if (slab.state_ == S::kClean) {
    clean_.erase(KeyOf(slab));
    clean_by_age_.erase({slab.since_, slab.id});
  }
  if (slab.state_ == S::kDestroying) destroying_.erase(slab.id);
  bytes_in(slab.state_) -= slab.size;
  bytes_in(to) += slab.size;
  slab.state_ = to;
  slab.since_ = now;
  Index(slab);
}

void Pool::Erase(SlabId id) {
  const auto found = slabs_.find(id);
  VRAMPOOL_CHECK(found != slabs_.end());
  const Slab& slab = *found->second;
  VRAMPOOL_CHECK(slab.state_ == S::kCreating || slab.state_ == S::kDestroying ||
                 slab.state_ == S::kLingering);
  bytes_in(slab.state_) -= slab.size;
  free_ += slab.size;
  destroying_.erase(id);
  slabs_.erase(found);
}

Slab* Pool::Find(SlabId id) const {
  const auto found = slabs_.find(id);
  return found == slabs_.end() ? nullptr : found->second.get();
}

Slab* Pool::FindClean(std::optional<TenantId> tenant, HandleKind kind,
                      Bytes size) const {
  const uint64_t key =
      tenant.has_value() ? uint64_t{static_cast<uint32_t>(*tenant)} + 1 : 0;
  const auto at = clean_.lower_bound({key, kind, size, SlabId{0}});
  if (at == clean_.end()) return nullptr;
  const auto& [found_tenant, found_kind, found_size, id] = *at;
  if (found_tenant != key || found_kind != kind) return nullptr;
  if ((found_size - size).count() > size.count() / 8) return nullptr;
  return Find(id);
}

Slab* Pool::OldestClean() {
  if (clean_by_age_.empty()) return nullptr;
  return Find(clean_by_age_.begin()->second);
}

Bytes Pool::clean() const { return by_state_[static_cast<int>(S::kClean)]; }

Bytes Pool::coming() const {
  Bytes sum;
  for (const SlabId id : destroying_) {
    const Slab& slab = *slabs_.at(id);
    if (slab.mappers.empty() && !slab.is_stuck) sum += slab.size;
  }
  return sum;
}

PoolUsage Pool::usage() const {
  PoolUsage usage;
  usage.capacity = capacity_;
  usage.free = free_;
  for (int i = 0; i < kSlabStates; ++i) usage.by_state[i] = by_state_[i];
  return usage;
}

bool Pool::IsConserved() const {
  Bytes sum = free_;
  for (const Bytes& bytes : by_state_) sum += bytes;
  return sum == capacity_;
}

void Pool::CheckInvariants() const {
  VRAMPOOL_CHECK(IsConserved());
  Bytes sums[kSlabStates];
  size_t clean = 0;
  for (const auto& [id, slab] : slabs_) {
    sums[static_cast<int>(slab->state())] += slab->size;
    if (slab->state() != S::kClean) continue;
    ++clean;
    VRAMPOOL_CHECK(slab->mappers.empty());
    VRAMPOOL_CHECK(clean_.contains(KeyOf(*slab)));
  }
  for (int i = 0; i < kSlabStates; ++i) VRAMPOOL_CHECK(sums[i] == by_state_[i]);
  VRAMPOOL_CHECK(clean == clean_.size() && clean == clean_by_age_.size());
}

}  // namespace vrampool
