#include "daemon/core/rates.h"

#include <limits>

namespace vrampool {

Amounts Sum(const Amounts& a, const Amounts& b) {
  Amounts sum = {};
  for (size_t i = 0; i < sum.size(); ++i) {
    sum[i] = SaturatingAdd(Bytes(a[i]), Bytes(b[i])).count();
  }
  return sum;
}

bool Rates::TryTake(TenantId tenant, const Amounts& amounts, absl::Time now) {
  for (std::optional<TenantId> at = tenant; at; at = ledger_.parent(*at)) {
    const auto found = buckets_.find(*at);
    if (found == buckets_.end()) continue;
    for (size_t i = 0; i < kRateKinds; ++i) {
      found->second[i].Advance(ledger_.resolved(*at).rates[i], now);
    }
  }
  if (FindObstacle(tenant, amounts, nullptr, now).has_value()) return false;
  for (std::optional<TenantId> at = tenant; at; at = ledger_.parent(*at)) {
    const auto& rates = ledger_.resolved(*at).rates;
    for (size_t i = 0; i < kRateKinds; ++i) {
      if (rates[i].is_bound() && amounts[i] > 0) {
        buckets_[*at][i].Take(rates[i], amounts[i], now);
      }
    }
  }
  return true;
}

void Rates::GiveBack(TenantId tenant, const Amounts& amounts) {
  for (std::optional<TenantId> at = tenant; at; at = ledger_.parent(*at)) {
    const auto found = buckets_.find(*at);
    if (found == buckets_.end()) continue;
    for (size_t i = 0; i < kRateKinds; ++i) {
      found->second[i].GiveBack(amounts[i]);
    }
  }
}

std::optional<RateObstacle> Rates::FindObstacle(
    TenantId tenant, const Amounts& amounts,
    const std::function<Amounts(TenantId)>& ahead, absl::Time now) const {
  std::optional<RateObstacle> last;
  for (std::optional<TenantId> at = tenant; at; at = ledger_.parent(*at)) {
    const auto& rates = ledger_.resolved(*at).rates;
    std::optional<Amounts> before;
    for (size_t i = 0; i < kRateKinds; ++i) {
      if (!rates[i].is_bound() || amounts[i] == 0) continue;
      if (!before) before = ahead == nullptr ? Amounts{} : ahead(*at);
      const auto found = buckets_.find(*at);
      const RateBucket bucket =
          found == buckets_.end() ? RateBucket() : found->second[i];
      const absl::Duration wait =
          bucket.TimeUntil(rates[i], amounts[i], (*before)[i], now);
      if (wait == absl::ZeroDuration() || (last && wait <= last->wait)) {
        continue;
      }
      last = {.tenant = *at, .kind = static_cast<RateKind>(i), .wait = wait};
    }
  }
  return last;
}

bool Rates::IsBounded(TenantId tenant) const {
  return FindWidest(tenant).has_value();
}

TenantId Rates::WidestBound(TenantId tenant) const {
  return *FindWidest(tenant);
}

std::optional<TenantId> Rates::FindWidest(TenantId tenant) const {
  std::optional<TenantId> widest;
  for (std::optional<TenantId> at = tenant; at; at = ledger_.parent(*at)) {
    const auto& rates = ledger_.resolved(*at).rates;
    if (rates[static_cast<size_t>(RateKind::kLeases)].is_bound() ||
        rates[static_cast<size_t>(RateKind::kBytes)].is_bound()) {
      widest = *at;
    }
  }
  return widest;
}

void Rates::Advance(absl::Time now) {
  for (auto& [tenant, buckets] : buckets_) {
    for (size_t i = 0; i < kRateKinds; ++i) {
      buckets[i].Advance(ledger_.resolved(tenant).rates[i], now);
    }
  }
}

}  // namespace vrampool
