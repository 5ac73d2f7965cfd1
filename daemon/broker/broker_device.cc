// The device: its work, its loss, and its figures beside the ledger's; see
// broker.h.

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/status_macros.h"
#include "base/stopwatch.h"
#include "daemon/broker/broker_impl.h"

namespace vrampool {

void BrokerImpl::RunCreate(const Effects::Create& create) {
  const Stopwatch watch;
  const absl::Status outcome =
      device_.Create(create.slab, create.size, create.kind);
  Observe(Operation::kCreate, watch.elapsed(), outcome);
  Effects effects;
  {
    MutexLock lock(mu_);
    NoteLoss(outcome, effects);
    arbiter_.OnCreated(create.slab, outcome, clock_.Now(), effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
}

void BrokerImpl::RunDestroy(SlabId slab) {
  const Stopwatch watch;
  const absl::Status outcome = device_.Destroy(slab);
  Observe(Operation::kDestroy, watch.elapsed(), outcome);
  Effects effects;
  {
    MutexLock lock(mu_);
    NoteLoss(outcome, effects);
    arbiter_.OnDestroyed(slab, outcome, clock_.Now(), effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
}

void BrokerImpl::Observe(Operation operation, absl::Duration took,
                         const absl::Status& outcome) {
  if (observer_ != nullptr) observer_->OnDone(operation, took, outcome);
}

void BrokerImpl::TellHealth() {
  if (observer_ == nullptr) return;
  Event event;
  event.kind = EventKind::kDeviceHealth;
  event.at = clock_.Now();
  const absl::Status health = device_.Health();
  event.text = health.ok() ? "" : std::string(health.message());
  {
    MutexLock lock(mu_);
    if (told_health_ == event.text) return;
    told_health_ = event.text;
  }
  if (health.ok()) event.text = "ok";
  observer_->OnEvent(std::move(event));
}

// Before anybody hears of the outcome, so that who asks next is refused too.
void BrokerImpl::NoteLoss(const absl::Status& outcome, Effects& effects) {
  if (!absl::IsUnavailable(outcome)) return;
  arbiter_.OnDeviceLost(std::string(outcome.message()), effects);
}

void BrokerImpl::CheckDevice(const absl::Status& outcome) {
  if (!absl::IsUnavailable(outcome)) return;
  Effects effects;
  {
    MutexLock lock(mu_);
    NoteLoss(outcome, effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
}

void BrokerImpl::RefreshDevice() {
  // Posted under the lock: after is_stopping_ the queue may be gone.
  MutexLock lock(mu_);
  if (is_comparison_due_ || is_stopping_) return;
  is_comparison_due_ = true;
  comparisons_.Post([this] { CompareDevice(); });
}

void BrokerImpl::CompareDevice() {
  {
    MutexLock lock(mu_);
    is_comparison_due_ = false;  // What happens from now on needs another.
  }
  const absl::StatusOr<DeviceUse> use = device_.Use();
  CheckDevice(use.status());
  TellHealth();
  if (!use.ok()) return;
  Effects effects;
  {
    MutexLock lock(mu_);
    arbiter_.OnDeviceRoom(use->free + use->slabs, clock_.Now(), effects);
    Absorb(effects);
  }
  Dispatch(std::move(effects));
}

absl::StatusOr<Bytes> BrokerImpl::GhostBytes() {
  VRAMPOOL_ASSIGN_OR_RETURN(const Bytes unreleased, device_.Unreleased());
  MutexLock lock(mu_);
  const PoolUsage pool = arbiter_.TakeSnapshot(clock_.Now()).pool;
  return SaturatingSub(unreleased, pool.of(SlabState::kLingering) +
                                       pool.of(SlabState::kDestroying));
}

absl::StatusOr<DeviceReport> BrokerImpl::ReadDevice() {
  DeviceReport report;
  VRAMPOOL_ASSIGN_OR_RETURN(report.use, device_.Use());
  VRAMPOOL_ASSIGN_OR_RETURN(report.ghosts, GhostBytes());
  absl::flat_hash_set<pid_t> known;
  {
    MutexLock lock(mu_);
    const Snapshot snapshot = arbiter_.TakeSnapshot(clock_.Now());
    report.missing = snapshot.missing;
    for (const SessionView& session : snapshot.sessions) {
      known.insert(session.peer.pid);
    }
  }
  for (const OutsideProcess& process : report.use.processes) {
    if (!known.contains(process.pid)) report.suspects.push_back(process);
  }
  return report;
}

absl::Status BrokerImpl::DeviceHealth() { return device_.Health(); }

}  // namespace vrampool
