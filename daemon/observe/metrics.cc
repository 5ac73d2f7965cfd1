#include "daemon/observe/metrics.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace vrampool {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

double Number(Bytes bytes) { return static_cast<double>(bytes.count()); }
double Number(uint64_t count) { return static_cast<double>(count); }
double Number(bool is_so) { return is_so ? 1 : 0; }

class Families {
 public:
  MetricFamily& Add(MetricType type, const char* name, const char* help) {
    families_.push_back({});
    families_.back().name = name;
    families_.back().help = help;
    families_.back().type = type;
    return families_.back();
  }
  // A family of one number.
  template <typename T>
  void Gauge(const char* name, const char* help, T value, Labels labels = {}) {
    Put(Add(MetricType::Gauge, name, help), Number(value), std::move(labels));
  }
  void Counter(const char* name, const char* help, uint64_t value) {
    Put(Add(MetricType::Counter, name, help), Number(value), {});
  }
  static void Put(MetricFamily& family, double value, Labels labels) {
    ClientMetric metric;
    metric.label = std::move(labels);
    (family.type == MetricType::Counter ? metric.counter.value
                                        : metric.gauge.value) = value;
    family.metric.push_back(std::move(metric));
  }
  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

void AddPool(const Snapshot& snapshot, Families& families) {
  const PoolUsage& pool = snapshot.pool;
  families.Gauge("vrampool_pool_capacity_bytes",
                 "Bytes of the device that the daemon hands out.",
                 pool.capacity);
  MetricFamily& states = families.Add(
      MetricType::Gauge, "vrampool_pool_bytes",
      "Bytes of the pool by state; the states add up to the capacity.");
  Families::Put(states, Number(pool.free), {{"state", "free"}});
  for (int i = 0; i < kSlabStates; ++i) {
    const auto state = static_cast<SlabState>(i);
    Families::Put(states, Number(pool.of(state)),
                  {{"state", SlabStateName(state)}});
  }
  families.Gauge("vrampool_pool_missing_bytes",
                 "Of the free bytes: the device has them not to give.",
                 snapshot.missing);
  families.Gauge("vrampool_conservation_holds",
                 "1 if the bytes of all states add up to the capacity.",
                 snapshot.conservation_holds);
  families.Counter("vrampool_conservation_breaches_total",
                   "Times that the states did not add up to the capacity.",
                   snapshot.counters.conservation_breaches);
  families.Gauge("vrampool_objects", "Shared objects.",
                 uint64_t{snapshot.objects.size()});
  families.Counter("vrampool_evictions_total",
                   "Sessions that were ended for others' right to memory.",
                   snapshot.counters.evictions);
  families.Gauge("vrampool_waiting_requests",
                 "Lease requests that wait for room.", snapshot.waiting);
  families.Counter("vrampool_leases_granted_total", "Leases granted.",
                   snapshot.counters.leases_granted);
  families.Counter("vrampool_sessions_attached_total", "Sessions that began.",
                   snapshot.counters.sessions_attached);
}

void AddSessions(const Snapshot& snapshot, Families& families) {
  std::array<uint64_t, 3> sessions = {};
  for (const SessionView& session : snapshot.sessions) {
    ++sessions[static_cast<size_t>(session.state)];
  }
  MetricFamily& family =
      families.Add(MetricType::Gauge, "vrampool_sessions",
                   "Sessions by state; ended ones wait for their process.");
  for (size_t i = 0; i < sessions.size(); ++i) {
    Families::Put(family, Number(sessions[i]),
                  {{"state", SessionStateName(static_cast<SessionState>(i))}});
  }
}

void AddDevice(Broker& broker, Families& families) {
  const DeviceInfo& device = broker.device_info();
  families.Gauge("vrampool_device_info",
                 "1; the labels say which device this daemon serves.", true,
                 {{"uuid", device.uuid}, {"name", device.name}});
  families.Gauge("vrampool_device_healthy", "1 if the device works.",
                 broker.DeviceHealth().ok());
  const absl::StatusOr<DeviceReport> report = broker.ReadDevice();
  families.Gauge("vrampool_device_read_success",
                 "1 if the device told its own figures for this scrape.",
                 report.ok());
  if (!report.ok()) return;
  families.Gauge("vrampool_device_total_bytes",
                 "Memory of the device, by its own word.", report->use.total);
  families.Gauge("vrampool_device_free_bytes",
                 "Free memory of the device, by its own word.",
                 report->use.free);
  families.Gauge("vrampool_ghost_bytes",
                 "What the device lacks and the ledger does not explain.",
                 report->ghosts);
  families.Gauge("vrampool_device_outside_processes",
                 "Processes on the device that have no session.",
                 uint64_t{report->suspects.size()});
}

// What the manifests of a tenant's own sessions say.
using LiveOfTenants = absl::flat_hash_map<std::string, LiveUse>;

LiveOfTenants ReadLive(const Snapshot& snapshot, Broker& broker) {
  LiveOfTenants live;
  for (const SessionView& session : snapshot.sessions) {
    const LiveUse use = broker.ReadLiveUse(session.id);
    LiveUse& sum = live[session.tenant];
    sum.blocks += use.blocks;
    sum.bytes = SaturatingAdd(sum.bytes, use.bytes);
  }
  return live;
}

void AddAlerts(absl::Span<const TenantView> tenants, Families& families) {
  MetricFamily& alerts = families.Add(
      MetricType::Gauge, "vrampool_tenant_alert",
      "1 if the alert, which the configuration asks for, is raised.");
  for (const TenantView& tenant : tenants) {
    for (const AlertView& alert : tenant.alerts) {
      Families::Put(
          alerts, Number(alert.is_raised),
          {{"tenant", tenant.path}, {"alert", AlertName(alert.kind)}});
    }
  }
}

void AddTenants(const Snapshot& snapshot, Broker& broker, Families& families) {
  LiveOfTenants live = ReadLive(snapshot, broker);
  struct Column {
    const char* name;
    const char* help;
    double (*value)(const TenantView&, const LiveUse&);
  };
  using View = const TenantView&;
  using Live = const LiveUse&;
  static constexpr Column kColumns[] = {
      {"vrampool_tenant_limit_bytes", "The most that it may be charged.",
       [](View tenant, Live) { return Number(tenant.limit); }},
      {"vrampool_tenant_guarantee_bytes", "What it can always have.",
       [](View tenant, Live) { return Number(tenant.guarantee); }},
      {"vrampool_tenant_burst_bytes", "Of used: beyond all guarantees.",
       [](View tenant, Live) { return Number(tenant.burst); }},
      {"vrampool_tenant_used_bytes", "Charged to the tenant and all below it.",
       [](View tenant, Live) { return Number(tenant.used); }},
      {"vrampool_tenant_opened_bytes",
       "Of other tenants: what it and all below it have open.",
       [](View tenant, Live) { return Number(tenant.opened); }},
      {"vrampool_tenant_available_bytes",
       "What it may still be charged under its limit and those above.",
       [](View tenant, Live) { return Number(tenant.available); }},
      {"vrampool_tenant_peak_bytes", "The most it was charged since start.",
       [](View tenant, Live) { return Number(tenant.peak); }},
      {"vrampool_tenant_clean_bytes", "Kept warm for it, not charged.",
       [](View tenant, Live) { return Number(tenant.clean); }},
      {"vrampool_tenant_lingering_bytes",
       "Destroyed, of it and all below it, and perhaps still mapped.",
       [](View tenant, Live) { return Number(tenant.lingering); }},
      {"vrampool_tenant_sessions", "Its own sessions.",
       [](View tenant, Live) { return Number(tenant.sessions); }},
      {"vrampool_tenant_live_bytes",
       "In blocks of its own sessions, by their word.",
       [](View, Live use) { return Number(use.bytes); }},
      {"vrampool_tenant_live_blocks",
       "Blocks of its own sessions, by their word.",
       [](View, Live use) { return Number(use.blocks); }},
  };
  const size_t told = std::min(snapshot.tenants.size(), kTenantsInMetrics);
  for (const Column& column : kColumns) {
    MetricFamily& family =
        families.Add(MetricType::Gauge, column.name, column.help);
    for (size_t i = 0; i < told; ++i) {
      const TenantView& tenant = snapshot.tenants[i];
      Families::Put(family, column.value(tenant, live[tenant.path]),
                    {{"tenant", tenant.path}});
    }
  }
  AddAlerts(absl::MakeConstSpan(snapshot.tenants).first(told), families);
  families.Gauge("vrampool_tenants_untold",
                 "Tenants left out of the metrics because there are too many.",
                 uint64_t{snapshot.tenants.size() - told});
}

ClientMetric ToMetric(const Telemetry::Durations& durations, Labels labels) {
  ClientMetric metric;
  metric.label = std::move(labels);
  uint64_t count = 0;
  for (size_t i = 0; i < durations.counts.size(); ++i) {
    count += durations.counts[i];
    const double bound = i < Telemetry::kBuckets.size()
                             ? Telemetry::kBuckets[i]
                             : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back(
        {.cumulative_count = count, .upper_bound = bound});
  }
  metric.histogram.sample_count = count;
  metric.histogram.sample_sum = durations.sum_seconds;
  return metric;
}

void AddTelemetry(const MetricSources& sources, Families& families) {
  const Telemetry::Figures figures = sources.telemetry.figures();
  MetricFamily& durations = families.Add(
      MetricType::Histogram, "vrampool_operation_duration_seconds",
      "Time of clients' calls (lease to wait, waiting included) and of the "
      "device's work (create, destroy).");
  for (int i = 0; i < kOperations; ++i) {
    const auto operation = static_cast<Operation>(i);
    durations.metric.push_back(
        ToMetric(figures.durations[static_cast<size_t>(i)],
                 {{"operation", OperationName(operation)}}));
  }
  MetricFamily& refusals =
      families.Add(MetricType::Counter, "vrampool_refusals_total",
                   "Operations that ended in an error, by its reason.");
  for (const auto& [key, count] : figures.refusals) {
    Families::Put(
        refusals, Number(count),
        {{"operation", OperationName(key.first)}, {"reason", key.second}});
  }
  families.Gauge("vrampool_watchers", "Streams of `vrampool watch`.",
                 uint64_t{sources.hub.watchers()});
  families.Counter("vrampool_events_dropped_total",
                   "Events that slow watchers missed.", sources.hub.dropped());
  families.Counter("vrampool_audit_lost_lines_total",
                   "Lines that the audit log could not take.",
                   sources.audit == nullptr ? 0 : sources.audit->lost());
}

}  // namespace

std::vector<MetricFamily> CollectMetrics(const MetricSources& sources) {
  Families families;
  families.Gauge("vrampool_build_info", "1; the label is the version.", true,
                 {{"version", VRAMPOOL_VERSION}});
  Families::Put(
      families.Add(MetricType::Gauge, "vrampool_start_time_seconds",
                   "When the daemon was started, since the epoch of Unix."),
      absl::ToDoubleSeconds(sources.started_at - absl::UnixEpoch()), {});
  const Snapshot snapshot = sources.broker.TakeSnapshot();
  AddPool(snapshot, families);
  AddSessions(snapshot, families);
  AddDevice(sources.broker, families);
  AddTenants(snapshot, sources.broker, families);
  AddTelemetry(sources, families);
  return families.Take();
}

}  // namespace vrampool
