// metrics.h - what the daemon tells Prometheus.
//
// Everything is read from one Snapshot, taken for the scrape, and from the
// counters of Telemetry; so series of tenants and sessions that have gone are
// gone too. Labels are of bounded sets: states, operations, reasons, and
// tenants (which the configuration names), of which 1000 at most are told
// apart. Names follow Prometheus' conventions; units are bytes and seconds.
//
// Threads: thread-safe.

#ifndef VRAMPOOL_DAEMON_OBSERVE_METRICS_H_
#define VRAMPOOL_DAEMON_OBSERVE_METRICS_H_

#include <vector>

#include "absl/time/time.h"
#include "daemon/broker/broker.h"
#include "daemon/observe/audit_log.h"
#include "daemon/observe/event_hub.h"
#include "daemon/observe/telemetry.h"
#include "prometheus/metric_family.h"

namespace vrampool {

struct MetricSources {
  Broker& broker;
  const Telemetry& telemetry;
  const EventHub& hub;
  const AuditLog* audit = nullptr;  // Null: there is none.
  absl::Time started_at;
};

constexpr size_t kTenantsInMetrics = 1000;

std::vector<prometheus::MetricFamily> CollectMetrics(
    const MetricSources& sources);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_OBSERVE_METRICS_H_
