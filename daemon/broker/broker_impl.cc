#include "daemon/broker/broker_impl.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "daemon/core/quota_text.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

DeviceInfo InfoOf(const Device& device, Bytes granule) {
  DeviceInfo info = device.info();
  info.granule = granule;
  return info;
}

AlertBook BookOf(const std::vector<TenantAlerts>& alerts) {
  AlertBook book;
  (void)book.SetRules(alerts);  // All of them are new.
  return book;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Broker>> Broker::Start(Options options,
                                                      Device& device,
                                                      const Clock& clock) {
  VRAMPOOL_ASSIGN_OR_RETURN(
      std::unique_ptr<TableMemory> table,
      TableMemory::Create(options.settings.epoch,
                          options.settings.bounds.objects));
  const Bytes preallocate_slab = options.preallocate_slab;
  auto broker = std::make_unique<BrokerImpl>(std::move(options),
                                             std::move(table), device, clock);
  broker->RefreshDevice();
  if (!preallocate_slab.is_zero()) {
    VRAMPOOL_RETURN_IF_ERROR(broker->Preallocate(preallocate_slab));
  }
  return broker;
}

BrokerImpl::BrokerImpl(Options options, std::unique_ptr<TableMemory> table,
                       Device& device, const Clock& clock)
    : epoch_(options.settings.epoch),
      bounds_(options.settings.bounds),
      device_(device),
      info_(InfoOf(device, options.settings.granule)),
      clock_(clock),
      observer_(options.observer),
      table_(std::move(table)),
      contents_(epoch_, bounds_.objects),
      alert_book_(BookOf(options.settings.alerts)),
      arbiter_(std::move(options.settings), *table_, *this),
      leak_book_(bounds_.leak_reports, absl::Hours(bounds_.leak_report_hours)) {
}

// After this nothing new is created, so the queues can end one by one.
BrokerImpl::~BrokerImpl() { BeginShutdown(); }

absl::Status BrokerImpl::Preallocate(Bytes slab) {
  Effects effects;
  {
    MutexLock lock(mu_);
    arbiter_.Preallocate(slab, clock_.Now(), effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  MutexLock lock(mu_);
  const auto in = [this](SlabState state) VRAMPOOL_REQUIRES(mu_) {
    return arbiter_.TakeSnapshot(clock_.Now()).pool.of(state);
  };
  while (!in(SlabState::kCreating).is_zero()) settled_.Wait(lock);
  const Bytes made = in(SlabState::kClean);
  const PoolUsage pool = arbiter_.TakeSnapshot(clock_.Now()).pool;
  if (pool.capacity - made >= slab) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the device has no room for the pool: ", FormatBytes(made), " of ",
        FormatBytes(pool.capacity),
        " could be made; choose a smaller pool_size or free memory"));
  }
  return absl::OkStatus();
}

bool BrokerImpl::IsHeld(ObjectId object,
                        const std::vector<SessionId>& sessions) {
  for (const SessionId session : sessions) {
    const auto found = companions_.find(session);
    if (found != companions_.end() && found->second.manifest->Holds(object)) {
      return true;
    }
  }
  return false;
}

void BrokerImpl::Absorb(Effects& effects) {
  for (Effects::Settled& settled : effects.settled) {
    const auto found = waiting_.find(settled.ticket);
    if (found == waiting_.end()) continue;
    if (settled.outcome.ok()) {
      BeginDelivery(*settled.outcome, found->second.callers);
    }
    found->second.outcome = std::move(settled.outcome);
  }
  if (effects.objects_changed) ++objects_version_;
  if (effects.room_changed) ++room_version_;
  if (!arbiter_.IsConserved()) ++breaches_;
  dues_.clear();
  for (const auto& [ticket, due] : arbiter_.Dues(clock_.Now())) {
    dues_.emplace(ticket, due);
  }
  settled_.NotifyAll();
}

void BrokerImpl::Dispatch(Effects effects) {
  for (const Effects::Create& create : effects.create) {
    creators_.Post([this, create] { RunCreate(create); });
  }
  for (const SlabId slab : effects.destroy) {
    destroyers_.Post([this, slab] { RunDestroy(slab); });
  }
  if (effects.device_changed) RefreshDevice();
  for (const Effects::Reclaim& reclaim : effects.reclaim) {
    if (auto link = LinkOf(reclaim.session)) link->SendReclaim(reclaim.bytes);
    Tell({.kind = EventKind::kReclaimAsked,
          .session = reclaim.session,
          .bytes = reclaim.bytes});
  }
  for (const Effects::Gone& gone : effects.gone) {
    Tell({.kind = EventKind::kObjectEnded,
          .tenant = gone.tenant,
          .session = gone.producer,
          .object = gone.object,
          .bytes = gone.size});
  }
  for (const Effects::Ended& ended : effects.ended) {
    if (auto link = LinkOf(ended.producer)) link->SendObjectEnded(ended.object);
  }
  for (const Effects::Known& known : effects.known) {
    if (auto link = LinkOf(known.opener)) link->SendObjectSettled(known.object);
  }
}

void BrokerImpl::Tell(Event event) {
  if (observer_ == nullptr) return;
  event.at = clock_.Now();
  observer_->OnEvent(std::move(event));
}

std::shared_ptr<SessionLink> BrokerImpl::LinkOf(SessionId session) {
  MutexLock lock(mu_);
  const auto found = companions_.find(session);
  return found == companions_.end() ? nullptr : found->second.link;
}

std::shared_ptr<Manifest> BrokerImpl::ManifestOf(SessionId session) {
  MutexLock lock(mu_);
  const auto found = companions_.find(session);
  return found == companions_.end() ? nullptr : found->second.manifest;
}

Snapshot BrokerImpl::TakeSnapshot() {
  MutexLock lock(mu_);
  return SnapshotOf(SnapshotScope::kWhole);
}

Snapshot BrokerImpl::SnapshotOf(SnapshotScope scope) {
  Snapshot snapshot = arbiter_.TakeSnapshot(clock_.Now(), scope);
  snapshot.counters.conservation_breaches = breaches_;
  for (TenantView& tenant : snapshot.tenants) {
    tenant.leaks = leak_book_.ReportsOf(tenant.path);
  }
  alert_book_.Describe(snapshot);
  return snapshot;
}

absl::Status BrokerImpl::SetQuota(std::string_view tenant, const Quota& change,
                                  std::string_view by) {
  Effects effects;
  {
    MutexLock lock(mu_);
    VRAMPOOL_RETURN_IF_ERROR(
        arbiter_.SetQuota(tenant, change, clock_.Now(), effects));
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  TellQuota(std::string(tenant), change.limit, TextOf(change), by);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> BrokerImpl::Reconfigure(
    const LiveSettings& settings, std::string_view by) {
  Effects effects;
  std::vector<QuotaChange> changes;
  std::vector<std::string> alerts;
  {
    MutexLock lock(mu_);
    VRAMPOOL_ASSIGN_OR_RETURN(
        changes, arbiter_.Reconfigure(settings, clock_.Now(), effects));
    alerts = alert_book_.SetRules(settings.alerts);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  std::vector<std::string> texts;
  for (const QuotaChange& change : changes) {
    const std::string text =
        absl::StrJoin(Differences(change.before, change.after), ", ");
    TellQuota(change.tenant, change.after.limit, text, by);
    texts.push_back(absl::StrCat(change.tenant, ": ", text));
  }
  texts.insert(texts.end(), alerts.begin(), alerts.end());
  return texts;
}

void BrokerImpl::TellQuota(std::string tenant, std::optional<Bytes> limit,
                           std::string_view text, std::string_view by) {
  Tell({.kind = EventKind::kQuotaChanged,
        .tenant = std::move(tenant),
        .bytes = limit.value_or(Bytes()),
        .text = absl::StrCat(std::string(text), ", by ", std::string(by))});
}

void BrokerImpl::BeginShutdown() {
  Effects effects;
  std::vector<std::shared_ptr<SessionLink>> links;
  {
    MutexLock lock(mu_);
    if (is_stopping_) return;
    is_stopping_ = true;
    arbiter_.BeginShutdown(effects);
    for (const auto& [id, companion] : companions_) {
      links.push_back(companion.link);
    }
    Absorb(effects);
  }
  Dispatch(std::move(effects));
  for (const auto& link : links) {
    link->SendFarewell(/*is_condemned=*/false,
                       "the daemon is stopping; memory already leased stays "
                       "usable");
  }
}

}  // namespace vrampool
