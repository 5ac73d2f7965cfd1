// The Arbiter's state for a restart of the daemon: see core_state.h.

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/core_state.h"

namespace vrampool {
namespace {

SlabRecord RecordOf(const Slab& slab, const Ledger& ledger) {
  SlabRecord record;
  record.id = slab.id;
  record.size = slab.size;
  record.kind = slab.kind;
  record.state = slab.state();
  record.since = slab.since();
  if (slab.tenant.has_value()) record.tenant = ledger.path(*slab.tenant);
  record.session = slab.session;
  record.lease = slab.lease;
  // What it was leased for before says nothing any more.
  if (slab.state() == SlabState::kLeased) {
    record.request = slab.request;
    record.was_mapped = slab.was_mapped;
  }
  if (!slab.charge.is_empty()) record.payer = ledger.path(slab.charge.tenant());
  record.is_spoiled = slab.is_spoiled;
  record.had_guests = slab.had_guests;
  record.mappers.assign(slab.mappers.begin(), slab.mappers.end());
  std::sort(record.mappers.begin(), record.mappers.end());
  return record;
}

ObjectRecord RecordOf(const Object& object, const Ledger& ledger) {
  ObjectRecord record;
  record.id = object.id;
  record.secret = object.secret;
  record.name = object.name;
  record.tenant = ledger.path(object.tenant);
  record.grants = object.grants;
  record.producer = object.producer;
  record.producer_is_live = object.producer_is_live;
  record.buffers = object.buffers;
  record.layout = object.layout;
  record.metadata = object.metadata;
  record.phase = object.phase;
  record.is_sealed = object.is_sealed;
  record.is_watched = object.is_watched;
  record.holds.assign(object.holds.begin(), object.holds.end());
  record.created_at = object.created_at;
  record.last_opened_at = object.last_opened_at;
  record.expires_at = object.expires_at;
  return record;
}

}  // namespace

CoreState Arbiter::Save() const {
  CoreState state;
  state.epoch = settings_.epoch;
  state.capacity = settings_.capacity;
  state.default_limit = ledger_.default_limit();
  state.last_session = last_session_;
  state.last_slab = pool_.last_id();
  state.last_lease = last_lease_;
  state.last_ticket = last_ticket_;
  for (const TenantId id : ledger_.tenants()) {
    state.tenants.push_back({.path = ledger_.path(id),
                             .quota = ledger_.quota(id),
                             .peak = ledger_.peak(id)});
  }
  for (const auto& [id, session] : sessions_) {
    state.sessions.push_back({.id = id,
                              .tenant = ledger_.path(session.tenant),
                              .peer = session.peer,
                              .labels = session.labels,
                              .state = session.state,
                              .is_process_gone = session.is_process_gone,
                              .attached_at = session.attached_at,
                              .evicted_because = session.evicted_because});
  }
  for (const auto& [id, slab] : pool_.slabs()) {
    if (slab->state() == SlabState::kCreating) continue;
    state.slabs.push_back(RecordOf(*slab, ledger_));
  }
  for (const auto& [id, object] : objects_.objects()) {
    state.objects.push_back(RecordOf(*object, ledger_));
  }
  // What was promised is not there any more; nor is it promised ever again.
  state.generations = objects_.generations();
  for (const auto& [object, promise] : promises_.promises()) {
    ++state.generations[ObjectSlot(object)];
  }
  state.counters = counters_;
  return state;
}

absl::StatusOr<std::unique_ptr<Arbiter>> Arbiter::Restore(
    CoreSettings settings, const CoreState& state, ObjectTable& table,
    HoldOracle& oracle) {
  VRAMPOOL_RETURN_IF_ERROR(CheckState(state, settings));
  auto arbiter = std::make_unique<Arbiter>(std::move(settings), table, oracle);
  arbiter->RestoreTenants(state);
  arbiter->RestoreSessions(state);
  arbiter->RestoreSlabs(state);
  arbiter->RestoreObjects(state);
  arbiter->counters_ = state.counters;
  arbiter->CheckInvariants();
  return arbiter;
}

void Arbiter::RestoreTenants(const CoreState& state) {
  VRAMPOOL_CHECK(
      ledger_.SetQuotas(QuotasToRestore(state, settings_), state.default_limit)
          .ok());
  for (const TenantRecord& tenant : state.tenants) {
    ledger_.RaisePeak(*ledger_.Find(tenant.path), tenant.peak);
  }
}

void Arbiter::RestoreSessions(const CoreState& state) {
  last_session_ = state.last_session;
  for (const SessionRecord& record : state.sessions) {
    Session& session = sessions_[record.id];
    session.id = record.id;
    session.tenant = *ledger_.Find(record.tenant);
    session.peer = record.peer;
    session.labels = record.labels;
    session.state = record.state;
    session.is_process_gone = record.is_process_gone;
    session.attached_at = record.attached_at;
    session.evicted_because = record.evicted_because;
    ++sessions_per_uid_[record.peer.uid];
  }
}

void Arbiter::RestoreSlabs(const CoreState& state) {
  last_lease_ = state.last_lease;
  last_ticket_ = state.last_ticket;
  pool_.SetLastId(state.last_slab);
  for (const SlabRecord& record : state.slabs) {
    const std::optional<TenantId> tenant = ledger_.Find(record.tenant);
    Slab& slab = pool_.Restore(record.id, record.size, record.kind, tenant,
                               record.state, record.since);
    slab.session = record.session;
    slab.lease = record.lease;
    slab.request = record.request;
    slab.was_mapped = record.was_mapped;
    slab.is_spoiled = record.is_spoiled;
    slab.had_guests = record.had_guests;
    if (!record.payer.empty()) {
      slab.charge =
          ledger_.TakeRegardless(*ledger_.Find(record.payer), slab.size);
    }
    for (const SessionId mapper : record.mappers) {
      Map(sessions_.at(mapper), slab);
    }
    if (record.state == SlabState::kLeased) {
      Session& session = sessions_.at(record.session);
      session.leases.emplace(slab.lease, slab.id);
      session.leases_by_key.emplace(slab.request.key, slab.lease);
    }
    if (record.state == SlabState::kParked) {
      sessions_.at(record.session).parked.insert(slab.id);
    }
    if (record.state == SlabState::kDestroying && !IsWithheld(slab)) {
      slab.is_stuck = true;  // Until the device has been asked again.
      failed_destroys_.push_back(slab.id);
    }
  }
}

void Arbiter::RestoreObjects(const CoreState& state) {
  std::vector<Object> objects;
  for (const ObjectRecord& record : state.objects) {
    Object& object = objects.emplace_back();
    object.id = record.id;
    object.secret = record.secret;
    object.name = record.name;
    object.tenant = *ledger_.Find(record.tenant);
    object.grants = record.grants;
    object.producer = record.producer;
    object.producer_is_live = record.producer_is_live;
    object.buffers = record.buffers;
    object.layout = record.layout;
    object.metadata = record.metadata;
    object.phase = record.phase;
    object.is_sealed = record.is_sealed;
    object.is_watched = record.is_watched;
    object.holds.insert(record.holds.begin(), record.holds.end());
    object.created_at = record.created_at;
    object.last_opened_at = record.last_opened_at;
    object.expires_at = record.expires_at;
    for (const BufferRef& buffer : record.buffers) {
      if (std::find(object.slabs.begin(), object.slabs.end(), buffer.slab) !=
          object.slabs.end()) {
        continue;
      }
      object.slabs.push_back(buffer.slab);
      ++pool_.Find(buffer.slab)->objects;
    }
    for (const auto& [id, count] : record.holds) {
      sessions_.at(id).held.insert(object.id);
      sessions_.at(id).holds += count;
    }
    if (record.producer_is_live) {
      sessions_.at(record.producer).produced.insert(object.id);
    }
  }
  objects_.Restore(std::move(objects), state.generations);
  for (const auto& [id, slab] : pool_.slabs()) Reckon(*slab);
}

}  // namespace vrampool
