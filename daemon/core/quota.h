// quota.h - what a tenant may have, as written, and whether a whole tree of
// that makes sense.
//
//   0 ........ guarantee ............ limit
//   |  always  |  burst: while there  |  never
//   |          |  is room             |
//
// Threads: values and pure functions.

#ifndef VRAMPOOL_DAEMON_CORE_QUOTA_H_
#define VRAMPOOL_DAEMON_CORE_QUOTA_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace vrampool {

inline constexpr int32_t kMaxPriority = 1000;  // And its negative.
inline constexpr uint32_t kMaxWeight = 1000;

// True if `path` names a tenant: "root" or "root/...", at most 8 components of
// at most 64 characters out of letters, digits, '.', '_' and '-'.
bool IsTenantPath(std::string_view path);

// What a rate bounds: leases, the bytes in them, calls.
enum class RateKind { kLeases, kBytes, kRpcs };
inline constexpr size_t kRateKinds = 3;
// As the configuration names it: "leases_per_second"; "leases_burst".
const char* RateName(RateKind kind);
const char* BurstName(RateKind kind);

// So much in each second on average, and so much at once; see rate_bucket.h.
struct Rate {
  uint64_t per_second = 0;  // 0: nothing is bounded.
  uint64_t burst = 0;       // Else at least 1.
  bool is_bound() const { return per_second > 0; }
  bool operator==(const Rate&) const = default;
};
struct RateSetting {
  std::optional<uint64_t> per_second = {};  // Else nothing is bounded.
  std::optional<uint64_t> burst = {};       // Else what one second gives.
  bool operator==(const RateSetting&) const = default;
};

// Of one tenant. What is not set is taken from elsewhere.
struct Quota {
  std::optional<Bytes> limit = {};  // Else the default; the root's: the pool.
  std::optional<Bytes> guarantee = {};   // Else the sum of its children's.
  std::optional<int32_t> priority = {};  // Else its parent's; the root's: 0.
  std::optional<uint32_t> weight = {};   // Else 1.
  // Others may use what of the guarantee is not in use, until it is asked for.
  // Else it is kept free. Not inherited.
  std::optional<bool> lends = {};
  // May burst in memory that a busy process cannot give back (CUDA_IPC). Else
  // its parent's; the root's: no.
  std::optional<bool> unreclaimable_burst = {};
  // Its sessions may be ended by force while it bursts, for those that have a
  // right to the memory. Else its parent's; the root's: no.
  std::optional<bool> evict = {};
  // How many of these it may have, with all tenants below it. Else no more than
  // Bounds say; not inherited, since each counts for all below.
  std::optional<uint32_t> sessions = {};
  std::optional<uint32_t> objects = {};
  std::optional<Bytes> metadata = {};  // Of its objects.
  // By RateKind; each counts for all tenants below, so it is not inherited.
  std::array<RateSetting, kRateKinds> rates = {};
  bool operator==(const Quota&) const = default;
};

// `quota` with what is set in `change`.
Quota Changed(const Quota& quota, const Quota& change);

struct TenantSetting {
  std::string path;  // "root/team-a"; parents are made as needed.
  Quota quota = {};
};

// A quota with nothing left open.
struct ResolvedQuota {
  Bytes limit;
  Bytes guarantee;
  int32_t priority = 0;
  uint32_t weight = 1;
  bool lends = false;
  bool unreclaimable_burst = false;
  bool evictable = false;
  std::array<Rate, kRateKinds> rates = {};  // By RateKind.
};

// Why quotas do not fit together.
struct QuotaProblem {
  std::string path;  // Of the tenant,
  std::string key;   // and of its quota: "limit", "guarantee", ...
  std::string text;  // For people.
};

struct QuotaTree {
  std::map<std::string, ResolvedQuota> tenants;  // With all their ancestors.
  std::vector<QuotaProblem> problems;            // Empty: it makes sense.
};

// Fills in what is open, and checks the whole:
//   - a guarantee is at most the tenant's limit
//   - the children's guarantees add up to at most their parent's; the root's is
//     the pool's `capacity`
//   - the root's limit is at most `capacity`
//   - priorities and weights lie within their bounds
//   - a burst belongs to a rate, and lets something through
// REQUIRES: all paths are tenant paths, each is there once.
QuotaTree ResolveQuotas(const std::vector<TenantSetting>& tenants,
                        Bytes default_limit, Bytes capacity);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_QUOTA_H_
