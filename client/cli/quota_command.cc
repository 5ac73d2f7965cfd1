// `vrampool quota get` and `vrampool quota set`.

#include <vector>

#include "client/cli/commands.h"
#include "client/cli/listing.h"
#include "client/cli/tenant_table.h"

namespace vrampool::cli {
namespace {

template <typename Reply>
absl::StatusOr<ExitCode> PrintQuota(const Context& context,
                                    const Reply& reply) {
  if (context.options.is_json) {
    VRAMPOOL_RETURN_IF_ERROR(PrintJson(reply, context.out));
  } else {
    Print(TenantTable(), std::vector<v1::TenantInfo>{reply.tenant()},
          context.options.header, context.out);
  }
  return ExitCode::kOk;
}

void SetRates(const QuotaChange& change, v1::SetQuotaRequest& request) {
  if (change.leases_per_second) {
    request.set_leases_per_second(*change.leases_per_second);
  }
  if (change.leases_burst) request.set_leases_burst(*change.leases_burst);
  if (change.bytes_per_second) {
    request.set_bytes_per_second(change.bytes_per_second->count());
  }
  if (change.bytes_burst) {
    request.set_bytes_burst(change.bytes_burst->count());
  }
  if (change.rpcs_per_second) {
    request.set_rpcs_per_second(*change.rpcs_per_second);
  }
  if (change.rpcs_burst) request.set_rpcs_burst(*change.rpcs_burst);
}

}  // namespace

absl::StatusOr<ExitCode> RunQuotaGet(const Context& context) {
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, ConnectChosen(context.options));
  v1::GetQuotaRequest request;
  request.set_tenant(context.options.quota_tenant);
  VRAMPOOL_ASSIGN_OR_RETURN(const v1::GetQuotaResponse reply,
                            client->GetQuota(request));
  return PrintQuota(context, reply);
}

absl::StatusOr<ExitCode> RunQuotaSet(const Context& context) {
  VRAMPOOL_ASSIGN_OR_RETURN(const auto client, ConnectChosen(context.options));
  v1::SetQuotaRequest request;
  const QuotaChange& change = context.options.quota_change;
  request.set_tenant(context.options.quota_tenant);
  if (change.limit) request.set_limit_bytes(change.limit->count());
  if (change.guarantee) request.set_guarantee_bytes(change.guarantee->count());
  if (change.priority) request.set_priority(*change.priority);
  if (change.weight) request.set_weight(*change.weight);
  if (change.lend_unused) request.set_lend_unused(*change.lend_unused);
  if (change.unreclaimable_burst) {
    request.set_unreclaimable_burst(*change.unreclaimable_burst);
  }
  if (change.evict) request.set_evict(*change.evict);
  SetRates(change, request);
  VRAMPOOL_ASSIGN_OR_RETURN(const v1::SetQuotaResponse reply,
                            client->SetQuota(request));
  if (reply.tenant().used_bytes() > reply.tenant().limit_bytes()) {
    context.err << "vrampool: the tenant uses more than its new limit; nothing "
                   "is taken back, and new leases are refused until its use "
                   "has fallen\n";
  }
  return PrintQuota(context, reply);
}

}  // namespace vrampool::cli
