// What a saved state must fulfil before anything is built from it.

#include "daemon/core/core_state.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/core/ledger.h"
#include "daemon/core/object_book.h"

namespace vrampool {
namespace {

constexpr size_t kMaxBuffers = 64;
constexpr size_t kMaxName = 255;
constexpr size_t kMaxMetadata = 64 << 10;
constexpr size_t kMaxGrants = 16;
// Counting up from here never wraps.
constexpr uint64_t kMaxId = std::numeric_limits<uint64_t>::max() / 2;

class Checker {
 public:
  Checker(const CoreState& state, const CoreSettings& settings)
      : state_(state), settings_(settings) {}

  absl::Status Check() {
    VRAMPOOL_RETURN_IF_ERROR(CheckSettings());
    VRAMPOOL_RETURN_IF_ERROR(CheckTenants());
    VRAMPOOL_RETURN_IF_ERROR(CheckSessions());
    VRAMPOOL_RETURN_IF_ERROR(CheckSlabs());
    VRAMPOOL_RETURN_IF_ERROR(CheckObjects());
    for (const auto& [id, slab] : slabs_) {
      if (slab->state == SlabState::kKept && !with_objects_.contains(id)) {
        return Damaged("slab", id, "is kept for objects that there are not");
      }
    }
    return absl::OkStatus();
  }

 private:
  template <typename Id>
  static absl::Status Damaged(const char* what, Id id, const char* why) {
    return absl::DataLossError(
        absl::StrCat("the saved state is damaged: ", what, " ",
                     static_cast<uint64_t>(id), " ", why));
  }

  absl::Status CheckSettings() const {
    if (state_.epoch != settings_.epoch) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the saved state is of epoch ", static_cast<uint64_t>(state_.epoch),
          ", not ", static_cast<uint64_t>(settings_.epoch)));
    }
    if (state_.generations.size() > settings_.bounds.objects) {
      return absl::FailedPreconditionError(
          absl::StrCat("the saved state has ", state_.generations.size(),
                       " places for objects, bounds.objects is ",
                       settings_.bounds.objects, "; raise it"));
    }
    for (const uint64_t last : {state_.last_session, state_.last_slab,
                                state_.last_lease, state_.last_ticket}) {
      if (last > kMaxId) return Damaged("id", last, "cannot be reached");
    }
    for (size_t slot = 0; slot < state_.generations.size(); ++slot) {
      if (state_.generations[slot] == 0 ||
          state_.generations[slot] > kMaxObjectGeneration) {
        return Damaged("slot", slot, "has an impossible generation");
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckTenants() {
    for (const TenantRecord& tenant : state_.tenants) {
      if (!IsTenantPath(tenant.path) || !tenants_.insert(tenant.path).second) {
        return absl::DataLossError(
            "the saved state is damaged: a tenant's path breaks the rules or "
            "is there twice");
      }
    }
    if (!tenants_.contains("root")) {
      return absl::DataLossError(
          "the saved state is damaged: the root tenant is missing");
    }
    const QuotaTree tree =
        ResolveQuotas(QuotasToRestore(state_, settings_), state_.default_limit,
                      settings_.capacity);
    if (tree.problems.empty()) return absl::OkStatus();
    const QuotaProblem& problem = tree.problems.front();
    return absl::FailedPreconditionError(
        absl::StrCat("the quotas of the saved state do not fit a pool of ",
                     FormatBytes(settings_.capacity), ": ", problem.path, ": ",
                     problem.text));
  }

  absl::Status CheckSessions() {
    for (const SessionRecord& session : state_.sessions) {
      const uint64_t id = static_cast<uint64_t>(session.id);
      if (id == 0 || id > state_.last_session ||
          !sessions_.emplace(session.id, &session).second) {
        return Damaged("session", id, "has an impossible id");
      }
      if (!tenants_.contains(session.tenant)) {
        return Damaged("session", id, "has an unknown tenant");
      }
      if (session.state != SessionState::kLive &&
          session.state != SessionState::kCondemned &&
          session.state != SessionState::kEnded) {
        return Damaged("session", id, "has an unknown state");
      }
      if (session.state == SessionState::kEnded && session.is_process_gone) {
        return Damaged("session", id, "is gone and should not be there");
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckSlabs() {
    Bytes room = settings_.capacity;
    for (const SlabRecord& slab : state_.slabs) {
      const uint64_t id = static_cast<uint64_t>(slab.id);
      if (id == 0 || id > state_.last_slab ||
          !slabs_.emplace(slab.id, &slab).second) {
        return Damaged("slab", id, "has an impossible id");
      }
      if (slab.size.is_zero() ||
          slab.size.count() % settings_.granule.count() != 0) {
        return Damaged("slab", id, "is no multiple of the granule");
      }
      if (slab.size > room) {
        return absl::FailedPreconditionError(
            absl::StrCat("the saved state has more slabs than a pool of ",
                         FormatBytes(settings_.capacity), " can hold"));
      }
      room -= slab.size;
      if (slab.kind != HandleKind::kCudaIpc &&
          slab.kind != HandleKind::kVmmFd && slab.kind != HandleKind::kHostFd) {
        return Damaged("slab", id, "has an unknown kind");
      }
      if (!slab.tenant.empty() && !tenants_.contains(slab.tenant)) {
        return Damaged("slab", id, "has an unknown tenant");
      }
      if (IsCharged(slab) && slab.payer != slab.tenant &&
          (!slab.had_guests || !tenants_.contains(slab.payer))) {
        return Damaged("slab", id, "is charged to an impossible tenant");
      }
      VRAMPOOL_RETURN_IF_ERROR(CheckMappers(slab));
      VRAMPOOL_RETURN_IF_ERROR(CheckSlabState(slab));
    }
    return absl::OkStatus();
  }

  static bool IsCharged(const SlabRecord& slab) { return !slab.payer.empty(); }

  absl::Status CheckMappers(const SlabRecord& slab) const {
    SessionId last{};
    for (const SessionId mapper : slab.mappers) {
      const auto found = sessions_.find(mapper);
      if (mapper <= last || found == sessions_.end() ||
          (found->second->tenant != slab.tenant && !slab.had_guests)) {
        return Damaged("slab", slab.id, "is mapped by an impossible session");
      }
      last = mapper;
    }
    return absl::OkStatus();
  }

  absl::Status CheckSlabState(const SlabRecord& slab) {
    bool fits = slab.session == SessionId{} && slab.lease == LeaseId{};
    switch (slab.state) {
      case SlabState::kClean:
        fits &= slab.mappers.empty() && !IsCharged(slab) && !slab.is_spoiled &&
                !slab.had_guests;
        break;
      case SlabState::kLeased:
        return CheckLease(slab);
      case SlabState::kParked:
        fits = slab.lease == LeaseId{} && IsCharged(slab) && IsHeld(slab);
        break;
      case SlabState::kKept:
        fits &= IsCharged(slab) && !slab.tenant.empty();
        break;
      case SlabState::kDestroying:
        fits &= IsCharged(slab) ? !slab.tenant.empty() : slab.mappers.empty();
        break;
      case SlabState::kLingering:
        fits &= IsCharged(slab) && !slab.mappers.empty();
        break;
      default:
        fits = false;
    }
    if (!fits) return Damaged("slab", slab.id, "contradicts its state");
    return absl::OkStatus();
  }

  // By a session that is there, has not ended, and maps it.
  bool IsHeld(const SlabRecord& slab) const {
    const auto found = sessions_.find(slab.session);
    if (found == sessions_.end()) return false;
    if (found->second->state == SessionState::kEnded) return false;
    bool is_mapped = false;
    for (const SessionId mapper : slab.mappers) {
      is_mapped |= mapper == slab.session;
    }
    return is_mapped;
  }

  absl::Status CheckLease(const SlabRecord& slab) {
    const uint64_t lease = static_cast<uint64_t>(slab.lease);
    if (!IsCharged(slab) || !IsHeld(slab) || lease == 0 ||
        lease > state_.last_lease || !leases_.insert(slab.lease).second ||
        slab.request.size > slab.size ||
        !keys_.insert({slab.session, slab.request.key}).second) {
      return Damaged("slab", slab.id, "has an impossible lease");
    }
    return absl::OkStatus();
  }

  absl::Status CheckObjects() {
    for (const ObjectRecord& object : state_.objects) {
      const uint64_t slot = ObjectSlot(object.id);
      if (slot >= state_.generations.size() ||
          ObjectGeneration(object.id) != state_.generations[slot] ||
          ObjectGeneration(object.id) >= kMaxObjectGeneration ||
          !slots_.insert(slot).second) {
        return Damaged("object", object.id, "has an impossible id");
      }
      if (!tenants_.contains(object.tenant) || object.name.size() > kMaxName ||
          object.name.find('\0') != std::string::npos ||
          (!object.name.empty() &&
           !names_.insert({object.tenant, object.name}).second)) {
        return Damaged("object", object.id, "has an impossible name");
      }
      if (object.name.empty() && object.expires_at != absl::InfiniteFuture()) {
        return Damaged("object", object.id, "expires without a name");
      }
      if (object.metadata.size() > kMaxMetadata ||
          object.layout.size() > kMaxMetadata) {
        return Damaged("object", object.id, "has too much metadata");
      }
      if (object.grants.size() > kMaxGrants ||
          !std::all_of(object.grants.begin(), object.grants.end(),
                       IsTenantPath)) {
        return Damaged("object", object.id, "has impossible grants");
      }
      VRAMPOOL_RETURN_IF_ERROR(CheckBuffers(object));
      VRAMPOOL_RETURN_IF_ERROR(CheckHolds(object));
      VRAMPOOL_RETURN_IF_ERROR(CheckPhase(object));
    }
    return absl::OkStatus();
  }

  absl::Status CheckBuffers(const ObjectRecord& object) {
    if (object.buffers.empty() || object.buffers.size() > kMaxBuffers) {
      return Damaged("object", object.id, "has no or too many buffers");
    }
    bool has_lease = false;
    for (const BufferRef& buffer : object.buffers) {
      const auto found = slabs_.find(buffer.slab);
      if (found == slabs_.end() || found->second->tenant != object.tenant) {
        return Damaged("object", object.id, "lies in an impossible slab");
      }
      const SlabRecord& slab = *found->second;
      if (buffer.offset > slab.size.count() ||
          buffer.size.count() > slab.size.count() - buffer.offset) {
        return Damaged("object", object.id, "reaches beyond its slab");
      }
      // A lessee's objects lie in its leases; what it gives back, or leaves
      // when it ends, is kept.
      const bool is_leased = slab.state == SlabState::kLeased &&
                             slab.session == object.producer &&
                             object.producer_is_live;
      if (!is_leased && slab.state != SlabState::kKept) {
        return Damaged("object", object.id, "is not where it can be");
      }
      has_lease |= is_leased;
      with_objects_.insert(slab.id);
    }
    if (has_lease == object.producer_is_live) return absl::OkStatus();
    return Damaged("object", object.id, "lies in no lease of its producer");
  }

  static bool MayHold(const SessionRecord& session,
                      const ObjectRecord& object) {
    return session.tenant == object.tenant ||
           IsGranted(object.grants, session.tenant);
  }

  absl::Status CheckHolds(const ObjectRecord& object) {
    SessionId last{};
    for (const auto& [id, count] : object.holds) {
      const auto found = sessions_.find(id);
      if (id <= last || count == 0 || found == sessions_.end() ||
          found->second->state == SessionState::kEnded ||
          !MayHold(*found->second, object)) {
        return Damaged("object", object.id, "is held by an impossible session");
      }
      last = id;
      uint64_t& sum = holds_[id];
      sum += count;
      if (sum > std::numeric_limits<uint32_t>::max()) {
        return Damaged("session", id, "has an impossible number of holds");
      }
    }
    return absl::OkStatus();
  }

  static absl::Status CheckPhase(const ObjectRecord& object) {
    const bool is_held = !object.holds.empty() || !object.name.empty();
    const bool is_live = object.phase == ObjectPhase::kLive;
    const bool is_pending = object.phase == ObjectPhase::kPending;
    // A broken one has lost its name, and lives on with its openers' holds.
    const bool is_broken =
        object.phase == ObjectPhase::kBroken && object.name.empty();
    if (!is_live && !is_broken && !(is_pending && object.producer_is_live)) {
      return Damaged("object", object.id, "has an impossible phase");
    }
    // Watched is what only manifests hold.
    if (object.is_watched == is_held) {
      return Damaged("object", object.id, "should have ended");
    }
    return absl::OkStatus();
  }

  const CoreState& state_;
  const CoreSettings& settings_;
  std::set<std::string> tenants_;
  std::map<SessionId, const SessionRecord*> sessions_;
  std::map<SlabId, const SlabRecord*> slabs_;
  std::set<SlabId> with_objects_;
  std::set<LeaseId> leases_;
  std::set<std::pair<SessionId, IdempotencyKey>> keys_;
  std::set<uint64_t> slots_;
  std::set<std::pair<std::string, std::string>> names_;
  std::map<SessionId, uint64_t> holds_;
};

}  // namespace

std::vector<TenantSetting> QuotasToRestore(const CoreState& state,
                                           const CoreSettings& settings) {
  std::vector<TenantSetting> quotas;
  for (const TenantRecord& tenant : state.tenants) {
    quotas.push_back({.path = tenant.path, .quota = tenant.quota});
    std::optional<Bytes>& limit = quotas.back().quota.limit;
    if (tenant.path != "root" || !limit.has_value()) continue;
    const bool was_whole_pool =
        *limit >= state.capacity && state.capacity != settings.capacity;
    if (was_whole_pool || *limit > settings.capacity) limit.reset();
  }
  return quotas;
}

absl::Status CheckState(const CoreState& state, const CoreSettings& settings) {
  return Checker(state, settings).Check();
}

}  // namespace vrampool
