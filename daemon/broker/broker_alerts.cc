// What alerts speak of, looked at: see broker.h and daemon/core/alert_book.h.

#include <algorithm>
#include <map>
#include <utility>

#include "daemon/broker/broker_impl.h"

namespace vrampool {
namespace {

// Ticks come about once a second, and more often when others are due.
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(900);

using BytesOfTenants = std::map<std::string, Bytes>;

// `live` is of each tenant's own sessions. Blocks lie in what is charged: who
// says more lies, and nobody's lie counts for more than his tenant uses.
void FillLive(BytesOfTenants live, Snapshot& snapshot) {
  // Parents come before their children.
  for (auto at = snapshot.tenants.rbegin(); at != snapshot.tenants.rend();
       ++at) {
    const Bytes sum = std::min(live[at->path], at->used);
    at->live = sum;
    const size_t parent = at->path.rfind('/');
    if (parent == std::string::npos) continue;
    Bytes& above = live[at->path.substr(0, parent)];
    above = SaturatingAdd(above, sum);
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
  BytesOfTenants live;
  for (const auto& [tenant, manifest] : manifests) {
    Bytes& sum = live[tenant];
    sum = SaturatingAdd(sum, manifest->ReadLiveUse().bytes);
  }
  if (needs_live) FillLive(std::move(live), snapshot);
  MutexLock lock(mu_);
  return alert_book_.Look(snapshot);
}

}  // namespace vrampool
