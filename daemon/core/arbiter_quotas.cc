// Quotas that change while running: see arbiter.h.

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {

absl::Status Arbiter::SetQuota(std::string_view tenant, const Quota& change,
                               absl::Time now, Effects& effects) {
  const std::optional<TenantId> id = ledger_.Find(tenant);
  if (!id.has_value()) {
    return Refuse(Reason::kTenantUnknown,
                  absl::StrCat("there is no tenant '", std::string(tenant),
                               "'; see the list of tenants"));
  }
  rates_.Advance(now);
  VRAMPOOL_RETURN_IF_ERROR(
      ledger_.SetQuota(*id, Changed(ledger_.quota(*id), change)));
  effects.room_changed = true;
  Pump(now, effects);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<QuotaChange>> Arbiter::Reconfigure(
    const LiveSettings& settings, absl::Time now, Effects& effects) {
  std::map<std::string, Quota> before;
  for (const TenantId id : ledger_.tenants()) {
    before[ledger_.path(id)] = ledger_.quota(id);
  }
  rates_.Advance(now);
  VRAMPOOL_RETURN_IF_ERROR(
      ledger_.SetQuotas(settings.tenants, settings.default_limit));
  settings_.reclaim_patience = settings.reclaim_patience;
  std::vector<QuotaChange> changes;
  for (const TenantId id : ledger_.tenants()) {
    const Quota& quota = ledger_.quota(id);
    const Quota& was = before[ledger_.path(id)];  // Of a new one: nothing set.
    if (quota == was) continue;
    changes.push_back(
        {.tenant = ledger_.path(id), .before = was, .after = quota});
  }
  effects.room_changed = true;
  Pump(now, effects);
  return changes;
}

}  // namespace vrampool
