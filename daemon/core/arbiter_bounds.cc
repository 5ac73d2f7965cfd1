// How many things the sessions of one tenant may have: see quota.h.

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "daemon/core/arbiter.h"
#include "daemon/core/refusal.h"

namespace vrampool {

absl::Status Arbiter::CheckSessionBounds(TenantId tenant) const {
  for (std::optional<TenantId> at = tenant; at; at = ledger_.parent(*at)) {
    const std::optional<uint32_t> bound = ledger_.quota(*at).sessions;
    if (!bound.has_value()) continue;
    uint64_t count = 0;
    for (const auto& [id, session] : sessions_) {
      if (ledger_.IsWithin(session.tenant, *at)) ++count;
    }
    if (count < *bound) continue;
    return Refuse({.reason = Reason::kLimitReached,
                   .subject = absl::StrCat("sessions of ", ledger_.path(*at))},
                  absl::StrCat("tenant ", ledger_.path(*at), " has ", count,
                               " sessions, its bound (tenants.sessions); end "
                               "some, or have it raised"));
  }
  return absl::OkStatus();
}

absl::Status Arbiter::CheckObjectBounds(TenantId tenant,
                                        const ShareRequest& request) const {
  const Bytes more = DescriptionBytes(request);
  for (std::optional<TenantId> at = tenant; at; at = ledger_.parent(*at)) {
    const Quota& quota = ledger_.quota(*at);
    if (!quota.objects.has_value() && !quota.metadata.has_value()) continue;
    uint64_t objects = 0;
    Bytes metadata;
    for (const auto& [owner, count] : objects_.counts()) {
      if (!ledger_.IsWithin(owner, *at)) continue;
      objects += count.objects;
      metadata += Bytes(count.metadata_bytes);
    }
    if (quota.objects.has_value() && objects >= *quota.objects) {
      return Refuse(
          {.reason = Reason::kLimitReached,
           .subject = absl::StrCat("objects of ", ledger_.path(*at))},
          absl::StrCat("tenant ", ledger_.path(*at), " has ", objects,
                       " objects, its bound (tenants.objects); close some, or "
                       "have it raised"));
    }
    if (quota.metadata.has_value() &&
        more > SaturatingSub(*quota.metadata, metadata)) {
      return Refuse(
          {.reason = Reason::kLimitReached,
           .subject = absl::StrCat("metadata of ", ledger_.path(*at)),
           .asked = more,
           .used = metadata,
           .limit = *quota.metadata},
          absl::StrCat("the objects of tenant ", ledger_.path(*at), " have ",
                       FormatBytes(metadata), " of metadata, ",
                       FormatBytes(more), " more would pass its bound of ",
                       FormatBytes(*quota.metadata),
                       " (tenants.metadata); close some, or have it raised"));
    }
  }
  return absl::OkStatus();
}

}  // namespace vrampool
