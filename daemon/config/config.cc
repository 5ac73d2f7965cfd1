#include "daemon/config/config.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "daemon/config/alert_keys.h"
#include "daemon/config/fields.h"
#include "daemon/core/ledger.h"

namespace vrampool {
namespace {

constexpr char kDefaultDirectory[] = "/run/vrampool";
constexpr char kDefaultTenant[] = "root/default";
constexpr char kHostPoolSize[] = "50%";
// The rest is for contexts: each process that uses the GPU has one.
constexpr char kGpuPoolSize[] = "90%";
constexpr size_t kLongestHostName = 32;
constexpr size_t kLongestGpuName = 48;  // "GPU-" and a UUID have 40.
constexpr char kPathRule[] =
    "a tenant path is \"root\", or \"root/...\" with at most 8 components of "
    "letters, digits, '.', '_' and '-', each at most 64 long";
// struct sockaddr_un has room for 107 bytes; "/attach.sock" is the longest of
// what follows DIR/UUID.
constexpr size_t kMaxSocketPath = 107;
constexpr size_t kSocketNameLength = 12;
// A bound that one number in a file cannot turn into a daemon that starves its
// machine: object table words, manifest records, threads.
constexpr uint32_t kMaxObjects = 1 << 20;
constexpr uint64_t kMaxManifestBlocks = 1 << 24;
constexpr uint32_t kMaxOpenRpcs = 8192;
constexpr uint32_t kMaxPatienceMs = 3600 * 1000;
constexpr uint32_t kMaxLeakReports = 1 << 16;
// Calls in progress beyond those that may wait, so that returns and closes
// always find a thread.
constexpr uint32_t kRpcsBesideWaiting = 16;

using Key = ConfigSource::Key;

bool Contains(const std::vector<HandleKind>& kinds, HandleKind kind) {
  return std::count(kinds.begin(), kinds.end(), kind) > 0;
}

bool IsOfGpus(HandleKind kind) {
  return kind == HandleKind::kCudaIpc || kind == HandleKind::kVmmFd;
}

std::vector<HandleKind> KindsOfGpus(const v1::Config& config) {
  std::vector<HandleKind> kinds;
  for (const std::string& name : config.kinds()) {
    const std::optional<HandleKind> kind = ParseHandleKind(name);
    if (!kind.has_value() || !IsOfGpus(*kind)) continue;
    if (Contains(kinds, *kind)) continue;
    kinds.push_back(*kind);
  }
  return kinds;
}

class Validation {
 public:
  Validation(const ConfigSource& source, const DeviceInfo& device,
             uint64_t descriptors)
      : source_(source), proto_(source.proto()), device_(device) {
    config_.descriptors = descriptors;
  }

  absl::StatusOr<Config> Run() {
    CheckKinds();
    CheckPool();
    CheckPreallocation();
    CheckTenants();
    CheckPatience();
    CheckPolicy();
    CheckBounds();
    CheckSockets();
    CheckLogLevel();
    CheckMetrics();
    CheckAuditLog();
    if (!problems_.empty()) {
      return absl::InvalidArgumentError(absl::StrJoin(problems_, "\n"));
    }
    return std::move(config_);
  }

 private:
  template <typename... Parts>
  void Problem(const Key& key, const Parts&... parts) {
    problems_.push_back(absl::StrCat(source_.Where(key), ": ", parts...));
  }

  std::optional<Bytes> Size(const Key& key, const std::string& text) {
    const std::optional<Bytes> size = ParseBytes(text);
    if (!size.has_value()) {
      Problem(key, "\"", text, "\" is no size; write \"512MiB\" or \"80GiB\"");
    }
    return size;
  }

  void CheckKinds();
  void CheckPool();
  void CheckPreallocation();
  Quota ReadQuota(const v1::Tenant& tenant, int index);
  void CheckTenants();
  void CheckPatience();
  void TakeAlerts(const v1::Tenant& tenant, int index);
  void CheckPolicy();
  void CheckRule(const v1::Rule& rule, int index);
  void CheckBounds();
  void CheckSockets();
  void CheckLogLevel();
  void CheckMetrics();
  void CheckAuditLog();

  const ConfigSource& source_;
  const v1::Config& proto_;
  const DeviceInfo& device_;
  Config config_;
  std::vector<std::string> problems_;
};

void Validation::CheckKinds() {
  std::vector<HandleKind>& kinds = config_.core.kinds;
  for (int i = 0; i < proto_.kinds_size(); ++i) {
    const std::string& name = proto_.kinds(i);
    const Key key = {.name = "kinds", .index = i};
    const std::optional<HandleKind> kind = ParseHandleKind(name);
    if (!kind.has_value()) {
      Problem(key, "\"", name,
              "\" is no handle kind; there are CUDA_IPC, VMM_FD and HOST_FD");
    } else if (Contains(device_.failed, *kind)) {
      continue;  // The device's notes tell.
    } else if (!Contains(device_.kinds, *kind)) {
      Problem(key, "the device ", device_.name, " does not offer ", name);
    } else if (std::count(kinds.begin(), kinds.end(), *kind) != 0) {
      Problem(key, name, " is listed twice");
    } else {
      kinds.push_back(*kind);
    }
  }
  if (proto_.kinds_size() == 0) kinds = device_.kinds;
  config_.core.not_isolating = device_.not_isolating;
}

void Validation::CheckPool() {
  const Key key = {.name = "pool_size"};
  const bool is_gpu =
      std::any_of(device_.kinds.begin(), device_.kinds.end(), IsOfGpus);
  const std::string text = !proto_.pool_size().empty() ? proto_.pool_size()
                           : is_gpu                    ? kGpuPoolSize
                                                       : kHostPoolSize;
  config_.core.granule = device_.granule;
  const std::optional<Bytes> size = ParseSizeOrShare(text, device_.total);
  if (!size.has_value()) {
    Problem(key, "\"", text,
            "\" is neither a size (\"80GiB\") nor a share of the device's "
            "memory (\"75%\")");
    return;
  }
  if (*size > device_.total) {
    Problem(key, FormatBytes(*size), " is more than the device has (",
            FormatBytes(device_.total), ")");
    return;
  }
  const std::vector<HandleKind>& kinds = config_.core.kinds;
  if (!std::all_of(kinds.begin(), kinds.end(), [](HandleKind kind) {
        return kind == HandleKind::kCudaIpc;
      })) {
    config_.core.granule =
        GranuleFor(config_.descriptors, *size, device_.granule);
  }
  config_.core.capacity =
      Bytes(size->count() - size->count() % config_.core.granule.count());
  if (config_.core.capacity.is_zero()) {
    Problem(key, FormatBytes(*size), " is less than one slab of ",
            FormatBytes(config_.core.granule));
  }
}

void Validation::CheckPreallocation() {
  const Key key = {.name = "preallocate_slab"};
  const std::string& text = proto_.preallocate_slab();
  const std::optional<Bytes> asked = text.empty() ? MiB(64) : Size(key, text);
  if (!asked.has_value()) return;
  const std::optional<Bytes> slab =
      CheckedRoundUp(*asked, config_.core.granule);
  const Bytes capacity = config_.core.capacity;
  if (!slab.has_value() || slab->is_zero() ||
      (!text.empty() && !capacity.is_zero() && *slab > capacity)) {
    Problem(key, "a slab of ", FormatBytes(*asked),
            " does not fit the pool; give more than 0 and at most ",
            FormatBytes(capacity));
    return;
  }
  // The default must also do for a pool smaller than it.
  if (proto_.preallocate()) {
    config_.preallocate_slab = std::min(*slab, capacity);
  }
}

Quota Validation::ReadQuota(const v1::Tenant& tenant, int index) {
  const auto size = [&](std::string_view key,
                        const std::string& text) -> std::optional<Bytes> {
    if (text.empty()) return std::nullopt;
    return Size({.name = "tenants", .index = index, .inner = key}, text);
  };
  Quota quota;
  quota.limit = size("limit", tenant.limit());
  quota.guarantee = size("guarantee", tenant.guarantee());
  if (tenant.has_priority()) quota.priority = tenant.priority();
  if (tenant.has_weight()) quota.weight = tenant.weight();
  if (tenant.has_lend_unused()) quota.lends = tenant.lend_unused();
  if (tenant.has_unreclaimable_burst()) {
    quota.unreclaimable_burst = tenant.unreclaimable_burst();
  }
  if (tenant.has_evict()) quota.evict = tenant.evict();
  if (tenant.has_sessions()) quota.sessions = tenant.sessions();
  if (tenant.has_objects()) quota.objects = tenant.objects();
  quota.metadata = size("metadata", tenant.metadata());
  auto& [leases, bytes, rpcs] = quota.rates;
  if (tenant.has_leases_per_second()) {
    leases.per_second = tenant.leases_per_second();
  }
  if (tenant.has_leases_burst()) leases.burst = tenant.leases_burst();
  if (tenant.has_rpcs_per_second()) rpcs.per_second = tenant.rpcs_per_second();
  if (tenant.has_rpcs_burst()) rpcs.burst = tenant.rpcs_burst();
  const auto count = [&](std::string_view key,
                         const std::string& text) -> std::optional<uint64_t> {
    const std::optional<Bytes> read = size(key, text);
    if (!read.has_value()) return std::nullopt;
    return read->count();
  };
  bytes.per_second = count("bytes_per_second", tenant.bytes_per_second());
  bytes.burst = count("bytes_burst", tenant.bytes_burst());
  return quota;
}

void Validation::CheckTenants() {
  config_.core.default_limit = config_.core.capacity;
  if (!proto_.default_limit().empty()) {
    const std::optional<Bytes> limit =
        Size({.name = "default_limit"}, proto_.default_limit());
    if (limit.has_value()) config_.core.default_limit = *limit;
  }
  std::map<std::string, int> seen;
  const size_t problems_before = problems_.size();
  for (int i = 0; i < proto_.tenants_size(); ++i) {
    const v1::Tenant& tenant = proto_.tenants(i);
    const Key path = {.name = "tenants", .index = i, .inner = "path"};
    if (!IsTenantPath(tenant.path())) {
      Problem(path, "\"", tenant.path(), "\": ", kPathRule);
    } else if (!seen.emplace(tenant.path(), i).second) {
      Problem(path, "\"", tenant.path(), "\" is listed twice");
    }
    config_.core.tenants.push_back(
        {.path = tenant.path(), .quota = ReadQuota(tenant, i)});
    TakeAlerts(tenant, i);
  }
  // The whole makes sense only if the parts do.
  if (problems_.size() > problems_before) return;
  const QuotaTree tree = ResolveQuotas(
      config_.core.tenants, config_.core.default_limit, config_.core.capacity);
  for (const QuotaProblem& problem : tree.problems) {
    const auto found = seen.find(problem.path);
    const int index = found == seen.end() ? -1 : found->second;
    Problem({.name = "tenants", .index = index, .inner = problem.key},
            problem.path, ": ", problem.text);
  }
  if (!tree.problems.empty()) return;
  for (const auto& [path, rules] : config_.core.alerts) {
    std::vector<AlertProblem> unmet;
    CheckReachable(rules, tree.tenants.at(path).limit, unmet);
    for (const AlertProblem& problem : unmet) {
      Problem({.name = "tenants", .index = seen[path], .inner = problem.key},
              path, ": ", problem.text);
    }
  }
}

void Validation::CheckPatience() {
  if (proto_.reclaim_patience_ms() > kMaxPatienceMs) {
    Problem({.name = "reclaim_patience_ms"}, proto_.reclaim_patience_ms(),
            " is more than an hour");
  } else if (proto_.reclaim_patience_ms() != 0) {
    config_.core.reclaim_patience =
        absl::Milliseconds(proto_.reclaim_patience_ms());
  }
}

void Validation::TakeAlerts(const v1::Tenant& tenant, int index) {
  std::vector<AlertProblem> problems;
  const AlertRules rules = ReadAlerts(tenant, problems);
  for (const AlertProblem& problem : problems) {
    Problem({.name = "tenants", .index = index, .inner = problem.key},
            problem.text);
  }
  if (rules.is_empty()) return;
  config_.core.alerts.push_back({.path = tenant.path(), .rules = rules});
}

void Validation::CheckRule(const v1::Rule& rule, int index) {
  const Key tenant = {.name = "policy", .index = index, .inner = "tenant"};
  if (rule.refuse() && !rule.tenant().empty()) {
    Problem(tenant, "a rule either names a tenant or refuses, not both");
  } else if (!rule.refuse() && rule.tenant().empty()) {
    Problem(tenant, "the rule needs a tenant, or \"refuse: true\"");
  } else if (!rule.refuse() && !IsTenantPath(rule.tenant())) {
    Problem(tenant, "\"", rule.tenant(), "\": ", kPathRule);
  }
  if (!rule.cgroup_prefix().empty() && rule.cgroup_prefix()[0] != '/') {
    Problem({.name = "policy", .index = index, .inner = "cgroup_prefix"}, "\"",
            rule.cgroup_prefix(),
            "\" must start with '/', as the path in /proc/PID/cgroup does");
  }
  config_.policy.rules.push_back(
      {.uids = {rule.uids().begin(), rule.uids().end()},
       .gids = {rule.gids().begin(), rule.gids().end()},
       .cgroup_prefix = rule.cgroup_prefix(),
       .tenant = rule.refuse() ? "" : rule.tenant()});
}

void Validation::CheckPolicy() {
  for (int i = 0; i < proto_.policy_size(); ++i) CheckRule(proto_.policy(i), i);
  const Key key = {.name = "default_tenant"};
  const std::string& tenant = proto_.default_tenant();
  if (proto_.refuse_unmatched()) {
    if (!tenant.empty()) {
      Problem(key, "contradicts refuse_unmatched; keep one of the two");
    }
  } else if (tenant.empty()) {
    config_.policy.default_tenant = kDefaultTenant;
  } else if (!IsTenantPath(tenant)) {
    Problem(key, "\"", tenant, "\": ", kPathRule);
  } else {
    config_.policy.default_tenant = tenant;
  }
  config_.policy.admin_uids.assign(proto_.admin_uids().begin(),
                                   proto_.admin_uids().end());
  config_.policy.admin_gids.assign(proto_.admin_gids().begin(),
                                   proto_.admin_gids().end());
}

template <typename T>
void Take(T written, T& bound) {
  if (written != 0) bound = written;
}

void Validation::CheckBounds() {
  const v1::Bounds& written = proto_.bounds();
  Bounds& bounds = config_.core.bounds;
  Take(written.sessions(), bounds.sessions);
  Take(written.sessions_per_uid(), bounds.sessions_per_uid);
  Take(written.leases_per_session(), bounds.leases_per_session);
  Take(written.objects(), bounds.objects);
  Take(written.objects_per_session(), bounds.objects_per_session);
  Take(written.holds_per_session(), bounds.holds_per_session);
  if (written.metadata_bytes_per_tenant() != 0) {
    bounds.metadata_per_tenant = Bytes(written.metadata_bytes_per_tenant());
  }
  Take(written.waiting(), bounds.waiting);
  Take(written.waiting_per_session(), bounds.waiting_per_session);
  Take(written.manifest_blocks(), bounds.manifest_blocks);
  Take(written.leak_reports(), bounds.leak_reports);
  Take(written.leak_report_hours(), bounds.leak_report_hours);
  Take(written.connections_per_uid(), bounds.connections_per_uid);
  Take(written.open_rpcs(), bounds.open_rpcs);

  const auto at_most = [this](std::string_view name, uint64_t value,
                              uint64_t most) {
    if (value <= most) return;
    Problem({.name = "bounds", .inner = name}, value, " is more than ", most);
  };
  at_most("objects", bounds.objects, kMaxObjects);
  at_most("manifest_blocks", bounds.manifest_blocks, kMaxManifestBlocks);
  at_most("leak_reports", bounds.leak_reports, kMaxLeakReports);
  at_most("open_rpcs", bounds.open_rpcs, kMaxOpenRpcs);
  if (bounds.open_rpcs < uint64_t{bounds.waiting} + kRpcsBesideWaiting) {
    Problem({.name = "bounds", .inner = "open_rpcs"}, bounds.open_rpcs,
            " leaves no room beside ", bounds.waiting,
            " waiting calls; raise it to bounds.waiting + ", kRpcsBesideWaiting,
            ", or lower bounds.waiting");
  }
}

void Validation::CheckSockets() {
  config_.directory = proto_.directory();
  if (config_.directory.empty()) {
    const char* const wanted = std::getenv("VRAMPOOL_DIR");
    config_.directory =
        wanted != nullptr && *wanted != '\0' ? wanted : kDefaultDirectory;
  }
  const Key key = {.name = "directory"};
  if (config_.directory.find('\0') != std::string::npos) {
    Problem(key, "a path has no NUL in it");
  }
  const size_t longest =
      config_.directory.size() + 1 + device_.uuid.size() + kSocketNameLength;
  if (longest > kMaxSocketPath) {
    Problem(key, "the path is ", longest - kMaxSocketPath,
            " bytes too long for the sockets in it; choose a shorter one");
  }
  if (proto_.socket_mode().empty()) return;
  const std::optional<mode_t> mode = ParseSocketMode(proto_.socket_mode());
  if (!mode.has_value()) {
    Problem({.name = "socket_mode"}, "\"", proto_.socket_mode(),
            "\" is no mode; write octal digits up to 0777, such as \"0660\"");
  }
  config_.socket_mode = mode.value_or(0);
}

void Validation::CheckLogLevel() {
  if (proto_.log_level().empty()) return;
  const std::set<std::string> levels = {"trace", "debug", "info", "warn",
                                        "error"};
  if (levels.count(proto_.log_level()) == 0) {
    Problem({.name = "log_level"}, "\"", proto_.log_level(),
            "\" is none of trace, debug, info, warn and error");
  }
  config_.log_level = proto_.log_level();
}

void Validation::CheckMetrics() {
  const std::string& address = proto_.metrics_address();
  if (address.empty()) return;
  const size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon);
  uint32_t port = 0;
  const bool is_port = colon != std::string::npos &&
                       absl::SimpleAtoi(address.substr(colon + 1), &port) &&
                       port <= 65535;
  if (!is_port || (host != "127.0.0.1" && host != "[::1]")) {
    Problem({.name = "metrics_address"}, "\"", address,
            "\" is no address of this machine alone; write "
            "\"127.0.0.1:9478\" or \"[::1]:9478\"");
    return;
  }
  config_.metrics_address = address;
}

void Validation::CheckAuditLog() {
  const std::string& path = proto_.audit_log();
  const bool is_path = path.size() > 1 && path[0] == '/' &&
                       path.back() != '/' &&
                       path.find('\0') == std::string::npos;
  if (!path.empty() && path != "log" && !is_path) {
    Problem({.name = "audit_log"}, "\"", path,
            "\" is neither a file's whole path (\"/var/log/...\") nor \"log\"");
  }
  if (path == "log" &&
      (config_.log_level == "warn" || config_.log_level == "error")) {
    Problem({.name = "audit_log"},
            "\"log\" has lines of level info, which log_level \"",
            config_.log_level, "\" leaves out; give a file, or log_level info");
  }
  config_.audit_log = path;
}

}  // namespace

absl::StatusOr<DeviceChoice> ChooseDevice(const ConfigSource& source) {
  const std::string& text = source.proto().device();
  DeviceChoice choice;
  if (text.empty() || text == "host") return choice;
  const size_t colon = text.find(':');
  choice.backend = text.substr(0, colon);
  choice.name = colon == std::string::npos ? "" : text.substr(colon + 1);
  constexpr std::string_view kNameLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
  const bool is_cuda = choice.backend == "cuda";
  const bool is_name_good =
      choice.name.size() <= (is_cuda ? kLongestGpuName : kLongestHostName) &&
      choice.name.find_first_not_of(kNameLetters) == std::string::npos &&
      (!choice.name.empty() || (is_cuda && colon == std::string::npos));
  if ((!is_cuda && choice.backend != "host") || !is_name_good) {
    return absl::InvalidArgumentError(absl::StrCat(
        source.Where({.name = "device"}), ": \"", text,
        "\" is no device; write \"host\", \"host:NAME\" with at most 32 "
        "letters, digits, '_' and '-', \"cuda\" for the only GPU, "
        "\"cuda:INDEX\", or \"cuda:GPU-UUID\" as nvidia-smi -L lists it"));
  }
  if (is_cuda) choice.kinds = KindsOfGpus(source.proto());
  return choice;
}

absl::StatusOr<Config> ValidateConfig(const ConfigSource& source,
                                      const DeviceInfo& device,
                                      uint64_t descriptors) {
  return Validation(source, device, descriptors).Run();
}

}  // namespace vrampool
