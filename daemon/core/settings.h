// settings.h - what the core needs to know from the configuration, validated.

#ifndef VRAMPOOL_DAEMON_CORE_SETTINGS_H_
#define VRAMPOOL_DAEMON_CORE_SETTINGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "daemon/core/alert_rules.h"
#include "daemon/core/quota.h"

namespace vrampool {

// Upper bounds on what clients can make the daemon hold. All > 0.
struct Bounds {
  uint32_t sessions = 4096;
  uint32_t sessions_per_uid = 1024;
  uint32_t leases_per_session = 4096;
  uint32_t objects = 65536;  // Also the slots of the object table.
  uint32_t objects_per_session = 16384;
  uint32_t holds_per_session = 65536;
  Bytes metadata_per_tenant = MiB(64);
  uint32_t waiting = 256;
  uint32_t waiting_per_session = 16;
  uint64_t manifest_blocks = 1 << 20;
  uint32_t leak_reports = 256;
  uint32_t leak_report_hours = 168;
  uint32_t connections_per_uid = 1024;
  uint32_t open_rpcs = 512;
};

// Of these, what can change while running.
struct LiveSettings {
  std::vector<TenantSetting> tenants;  // All there are: fit together.
  Bytes default_limit;
  absl::Duration reclaim_patience;
  std::vector<TenantAlerts> alerts = {};  // All there are.
};

struct CoreSettings {
  Epoch epoch{1};
  Bytes capacity;  // A multiple of the granule, > 0.
  Bytes granule;
  std::vector<HandleKind> kinds;  // Not empty; the default first.
  // As in DeviceInfo: their slabs are destroyed when nobody maps them any more.
  std::vector<HandleKind> not_isolating = {};
  std::vector<TenantSetting> tenants;  // Fit together: see ResolveQuotas.
  Bytes default_limit;  // Of tenants that have no limit of their own.
  Bounds bounds;
  // How long a request with a right to it waits before anybody is evicted.
  absl::Duration reclaim_patience = absl::Seconds(5);
  std::vector<TenantAlerts> alerts = {};
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_SETTINGS_H_
