// What alerts speak of, looked at: see broker.h and daemon/core/alert_book.h.

#include <map>
#include <utility>

#include "daemon/broker/broker_impl.h"

namespace vrampool {
namespace {

// Ticks come about once a second, and more often when others are due.
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(900);

// The bytes of a tenant's own sessions, and of those below it.
using LiveOfTenants = std::map<std::string, Bytes>;

void AddOnPath(std::string path, Bytes bytes, LiveOfTenants& live) {
  while (!path.empty()) {
    live[path] = SaturatingAdd(live[path], bytes);
    const size_t parent = path.rfind('/');
    path.resize(parent == std::string::npos ? 0 : parent);
  }
}

}  // namespace

std::vector<AlertChange> BrokerImpl::LookForAlerts() {
  Snapshot snapshot;
  std::vector<std::pair<std::string, std::shared_ptr<Manifest>>> manifests;
  bool needs_live = false;
  {
    MutexLock lock(mu_);
    const absl::Time now = clock_.Now();
    const bool has_looked =
        looked_at_ <= now && now < looked_at_ + kBetweenLooks;
    if (alert_book_.is_idle() || has_looked) return {};
    looked_at_ = now;
    snapshot = SnapshotOf(SnapshotScope::kTenants);
    needs_live = alert_book_.NeedsLive(snapshot.taken_at);
    if (needs_live) {
      for (const auto& [id, companion] : companions_) {
        manifests.emplace_back(companion.tenant, companion.manifest);
      }
    }
  }
  // Counters in shared memory, many for each session: not under the lock.
  LiveOfTenants live;
  for (const auto& [tenant, manifest] : manifests) {
    AddOnPath(tenant, manifest->ReadLiveUse().bytes, live);
  }
  if (needs_live) {
    for (TenantView& tenant : snapshot.tenants) tenant.live = live[tenant.path];
  }
  MutexLock lock(mu_);
  return alert_book_.Look(snapshot);
}

}  // namespace vrampool
