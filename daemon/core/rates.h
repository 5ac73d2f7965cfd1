// rates.h - how fast the tenants of a tree may lease and call.
//
// A rate of a tenant bounds it and all tenants below it together, as a limit
// does; so whatever is taken is taken from the buckets of every tenant on the
// path to the root, from all of them at once or from none.
//
// Which rates there are is the Ledger's to say (Quota::rates); a tenant without
// one costs nothing here. What buckets lack is forgotten over a restart.
//
// Threads: not thread-safe. The Arbiter owns it.
//
// Lifetime: the Ledger must outlive it.

#ifndef VRAMPOOL_DAEMON_CORE_RATES_H_
#define VRAMPOOL_DAEMON_CORE_RATES_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "absl/time/time.h"
#include "base/bytes.h"
#include "daemon/core/ledger.h"
#include "daemon/core/rate_bucket.h"

namespace vrampool {

// So much of each kind, by RateKind.
using Amounts = std::array<uint64_t, kRateKinds>;

constexpr Amounts AmountsOfLease(Bytes size) { return {1, size.count(), 0}; }
constexpr Amounts AmountsOfRpc() { return {0, 0, 1}; }
// Saturates.
Amounts Sum(const Amounts& a, const Amounts& b);

// Whose credit lacks, of which kind, and for how long.
struct RateObstacle {
  TenantId tenant{};
  RateKind kind{};
  absl::Duration wait;
};

class Rates {
 public:
  explicit Rates(const Ledger& ledger) : ledger_(ledger) {}

  // Takes of all buckets on the path, or of none if one lacks credit.
  bool TryTake(TenantId tenant, const Amounts& amounts, absl::Time now);
  void GiveBack(TenantId tenant, const Amounts& amounts);

  // Which bucket on the path will be the last to have the credit, if one lacks
  // it. `ahead` says what is taken before of a tenant's buckets; it may be
  // null: nothing.
  std::optional<RateObstacle> FindObstacle(
      TenantId tenant, const Amounts& amounts,
      const std::function<Amounts(TenantId)>& ahead, absl::Time now) const;

  // Some rate bounds leases of the tenant; the highest in the tree that does.
  bool IsBounded(TenantId tenant) const;
  TenantId WidestBound(TenantId tenant) const;  // REQUIRES: IsBounded(tenant).

  // Call it before the Ledger's quotas change.
  void Advance(absl::Time now);

 private:
  using Buckets = std::array<RateBucket, kRateKinds>;

  std::optional<TenantId> FindWidest(TenantId tenant) const;

  const Ledger& ledger_;
  std::map<TenantId, Buckets> buckets_;  // What is not here is full.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_RATES_H_
