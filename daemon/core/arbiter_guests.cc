// Slabs that sessions of several tenants map: see arbiter.h.
//
// Guests: sessions of tenants that an object was granted to
// open it by call only; it counts against their limits (Pledges, ledger.h). A
// slab's payer is the owner until it has let go: no session of it maps the slab
// and no object there has a name; then the tenant of the first guest.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {

std::set<TenantId> Arbiter::TenantsOf(const Slab& slab) const {
  std::set<TenantId> tenants;
  for (const SessionId mapper : slab.mappers) {
    tenants.insert(sessions_.at(mapper).tenant);
  }
  return tenants;
}

bool Arbiter::HasLetGo(TenantId payer, const Slab& slab,
                       const std::set<TenantId>& tenants) const {
  if (tenants.contains(payer)) return false;
  return payer != slab.tenant || !objects_.HasNamedIn(slab.id);
}

void Arbiter::Reckon(Slab& slab) {
  if (!slab.had_guests || slab.charge.is_empty()) return;
  const std::set<TenantId> tenants = TenantsOf(slab);
  const TenantId payer = slab.charge.tenant();
  if (tenants.empty() || !HasLetGo(payer, slab, tenants)) {
    ledger_.SetPledge(slab.pledge, payer, tenants, slab.size);
    return;
  }
  const SessionId first =
      *std::min_element(slab.mappers.begin(), slab.mappers.end());
  ledger_.PassOn(slab.charge, slab.pledge, sessions_.at(first).tenant, tenants);
}

void Arbiter::Reckon(const std::vector<SlabId>& slabs) {
  for (const SlabId id : slabs) Reckon(*pool_.Find(id));
}

bool Arbiter::MayOpen(const Session& session, const Object& object) const {
  return object.tenant == session.tenant ||
         IsGranted(object.grants, ledger_.path(session.tenant));
}

absl::Status Arbiter::MapAll(Session& session, const Object& object) {
  std::vector<std::pair<Slab*, bool>> mapped;
  for (const SlabId id : object.slabs) {
    Slab& slab = *pool_.Find(id);
    if (slab.mappers.contains(session.id)) continue;
    const absl::Status fits = ledger_.CanOpen(slab.pledge, slab.charge.tenant(),
                                              session.tenant, slab.size);
    if (!fits.ok()) {
      // As if it had never been tried.
      for (const auto& [before, had_guests] : mapped) {
        Unmap(session, *before);
        before->had_guests = had_guests;
      }
      return fits;
    }
    const bool had_guests = slab.had_guests;
    slab.had_guests = had_guests || session.tenant != object.tenant;
    Map(session, slab);
    Reckon(slab);
    mapped.emplace_back(&slab, had_guests);
  }
  return absl::OkStatus();
}

absl::Status Arbiter::CheckLeaving(const Session& session,
                                   const Slab& slab) const {
  if (slab.objects == 0) return absl::OkStatus();
  for (const ObjectId id : session.produced) {
    const Object& object = *objects_.objects().at(id);
    if (!object.holds.contains(session.id) &&
        object.phase != ObjectPhase::kPending) {
      continue;
    }
    if (std::find(object.slabs.begin(), object.slabs.end(), slab.id) ==
        object.slabs.end()) {
      continue;
    }
    return Refuse(
        Reason::kLeaseInUse,
        absl::StrCat("lease ", static_cast<uint64_t>(slab.lease), " carries ",
                     slab.objects,
                     " objects that still live, and the session holds some of "
                     "them or they are not ready; close them first"));
  }
  return absl::OkStatus();
}

// The objects are the daemon's from here on, as after the end of the session.
void Arbiter::LeaveObjects(Session& session, Slab& slab, absl::Time now) {
  pool_.Move(slab, SlabState::kKept, now);
  for (auto next = session.produced.begin(); next != session.produced.end();) {
    Object& object = *objects_.Find(*next);
    const bool has_more = std::any_of(
        object.slabs.begin(), object.slabs.end(), [this](SlabId id) {
          return pool_.Find(id)->state() == SlabState::kLeased;
        });
    if (has_more) {
      ++next;
      continue;
    }
    object.producer_is_live = false;
    session.produced.erase(next++);
  }
}

void Arbiter::CheckPledges(const Slab& slab) const {
  const std::set<TenantId> tenants = TenantsOf(slab);
  for (const TenantId tenant : tenants) {
    VRAMPOOL_CHECK(slab.had_guests || tenant == *slab.tenant);
  }
  if (tenants.empty()) return;
  VRAMPOOL_CHECK(!slab.charge.is_empty());
  VRAMPOOL_CHECK(!HasLetGo(slab.charge.tenant(), slab, tenants));
  VRAMPOOL_CHECK(ledger_.IsPledge(slab.pledge, slab.charge.tenant(), tenants));
}

}  // namespace vrampool
