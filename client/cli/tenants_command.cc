// `vrampool tenants`: quotas and use, and the quota commands' one row of it.

#include "client/cli/commands.h"
#include "client/cli/listing.h"
#include "client/cli/tenant_table.h"
#include "client/cli/text.h"

namespace vrampool::cli {

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
