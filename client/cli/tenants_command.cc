// `vrampool tenants`: quotas and use, and the quota commands' one row of it.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/bytes.h"
#include "client/cli/commands.h"
#include "client/cli/listing.h"
#include "client/cli/tenant_table.h"
#include "client/cli/text.h"

namespace vrampool::cli {

namespace {

// "10 leases/s (20 at once), 4.0 GiB/s"; empty: none.
std::string RatesText(const v1::TenantInfo& row) {
  const auto count = [](uint64_t n) { return std::to_string(n); };
  const auto size = [](uint64_t n) { return FormatBytes(Bytes(n)); };
  std::vector<std::string> parts;
  const auto add = [&parts](uint64_t rate, uint64_t burst, auto text,
                            const char* unit) {
    if (rate == 0) return;
    parts.push_back(absl::StrCat(text(rate), unit, "/s"));
    if (burst == rate) return;
    absl::StrAppend(&parts.back(), " (", text(burst), " at once)");
  };
  add(row.leases_per_second(), row.leases_burst(), count, " leases");
  add(row.bytes_per_second(), row.bytes_burst(), size, "");
  add(row.rpcs_per_second(), row.rpcs_burst(), count, " calls");
  return absl::StrJoin(parts, ", ");
}

std::string MeasureText(const v1::AlertInfo& alert) {
  const std::string& name = alert.name();
  if (name == "used" || name == "growth" || name == "lingering") {
    return FormatBytes(Bytes(alert.value()));
  }
  return absl::StrCat(alert.value(), name == "waiting" ? "s" : "");
}

// "used 7.2 GiB, waiting 45s": those that are raised. Empty: none.
std::string AlertsText(const v1::TenantInfo& row) {
  std::vector<std::string> parts;
  for (const v1::AlertInfo& alert : row.alerts()) {
    if (!alert.raised()) continue;
    parts.push_back(absl::StrCat(alert.name(), " ", MeasureText(alert)));
  }
  return absl::StrJoin(parts, ", ");
}

}  // namespace

TableOf<v1::TenantInfo> TenantTable() {
  using Row = v1::TenantInfo;
  return {
      {"TENANT", Align::kLeft,
       [](const Row& row) { return Text(row.tenant()); }},
      {"GUARANTEE", Align::kRight,
       [](const Row& row) { return Size(row.guarantee_bytes()); }},
      {"LIMIT", Align::kRight,
       [](const Row& row) { return Size(row.limit_bytes()); }},
      {"USED", Align::kRight,
       [](const Row& row) { return Size(row.used_bytes()); }},
      {"OPENED", Align::kRight,
       [](const Row& row) { return Size(row.opened_bytes()); }},
      {"BURST", Align::kRight,
       [](const Row& row) { return Size(row.burst_bytes()); }},
      {"AVAILABLE", Align::kRight,
       [](const Row& row) { return Size(row.available_bytes()); }},
      {"PEAK", Align::kRight,
       [](const Row& row) { return Size(row.peak_bytes()); }},
      {"CLEAN", Align::kRight,
       [](const Row& row) { return Size(row.clean_bytes()); }},
      {"PRIORITY", Align::kRight,
       [](const Row& row) { return SignedNumber(row.priority()); }},
      {"WEIGHT", Align::kRight,
       [](const Row& row) { return Number(row.weight()); }},
      {"SESSIONS", Align::kRight,
       [](const Row& row) { return Number(row.sessions()); }},
      {"RATES", Align::kLeft,
       [](const Row& row) { return Text(RatesText(row)); }},
      {"ALERTS", Align::kLeft,
       [](const Row& row) { return Text(AlertsText(row)); }},
  };
}

absl::StatusOr<ExitCode> RunTenants(const Context& context) {
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, ConnectChosen(context.options));
  VRAMPOOL_ASSIGN_OR_RETURN(v1::ListTenantsResponse reply,
                            client->ListTenants());
  KeepOnly(reply.mutable_tenants(), [&](const v1::TenantInfo& tenant) {
    return IsWithinTenant(tenant.tenant(), context.options.tenant);
  });
  return PrintListing(context, TenantTable(), reply, reply.mutable_tenants());
}

}  // namespace vrampool::cli
