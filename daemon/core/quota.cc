#include "daemon/core/quota.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace vrampool {
namespace {

constexpr size_t kMaxDepth = 8;
constexpr size_t kMaxComponent = 64;
constexpr std::string_view kRootPath = "root";

bool IsComponent(std::string_view text) {
  if (text.empty() || text.size() > kMaxComponent) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

std::string ParentOf(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

class Resolver {
 public:
  Resolver(const std::vector<TenantSetting>& tenants, Bytes default_limit,
           Bytes capacity)
      : default_limit_(default_limit), capacity_(capacity) {
    written_[std::string(kRootPath)];
    for (const TenantSetting& tenant : tenants) {
      for (std::string path = tenant.path; path != kRootPath;
           path = ParentOf(path)) {
        written_[path];
      }
    }
    for (const TenantSetting& tenant : tenants) {
      written_[tenant.path] = tenant.quota;
    }
  }

  QuotaTree Run() {
    // In the map's order a path comes after its parent, which is its prefix.
    for (const auto& [path, quota] : written_) Inherit(path, quota);
    for (auto at = written_.rbegin(); at != written_.rend(); ++at) {
      Guarantee(at->first, at->second);
    }
    return std::move(tree_);
  }

 private:
  template <typename... Parts>
  void Problem(const std::string& path, const char* key,
               const Parts&... parts) {
    tree_.problems.push_back(
        {.path = path, .key = key, .text = absl::StrCat(parts...)});
  }

  void Inherit(const std::string& path, const Quota& quota) {
    ResolvedQuota resolved;
    if (path == kRootPath) {
      resolved.limit = quota.limit.value_or(capacity_);
      if (resolved.limit > capacity_) {
        Problem(path, "limit", "the root's limit cannot pass the pool's ",
                FormatBytes(capacity_));
      }
    } else {
      resolved = tree_.tenants.at(ParentOf(path));
      resolved.limit = quota.limit.value_or(default_limit_);
    }
    resolved.guarantee = Bytes();
    resolved.priority = quota.priority.value_or(resolved.priority);
    resolved.weight = quota.weight.value_or(1);
    resolved.lends = quota.lends.value_or(false);
    resolved.unreclaimable_burst =
        quota.unreclaimable_burst.value_or(resolved.unreclaimable_burst);
    resolved.evictable = quota.evict.value_or(resolved.evictable);
    if (resolved.priority < -kMaxPriority || resolved.priority > kMaxPriority) {
      Problem(path, "priority", resolved.priority, " is not between ",
              -kMaxPriority, " and ", kMaxPriority);
    }
    if (resolved.weight < 1 || resolved.weight > kMaxWeight) {
      Problem(path, "weight", resolved.weight, " is not between 1 and ",
              kMaxWeight);
    }
    for (size_t i = 0; i < kRateKinds; ++i) {
      resolved.rates[i] =
          Resolve(path, static_cast<RateKind>(i), quota.rates[i]);
    }
    tree_.tenants[path] = resolved;
  }

  Rate Resolve(const std::string& path, RateKind kind,
               const RateSetting& setting) {
    if (setting.burst.has_value() && !setting.per_second.has_value()) {
      Problem(path, BurstName(kind), "says nothing without ", RateName(kind));
    }
    Rate rate{.per_second = setting.per_second.value_or(0)};
    if (!rate.is_bound()) return rate;
    rate.burst = setting.burst.value_or(rate.per_second);
    if (rate.burst == 0) {
      Problem(path, BurstName(kind),
              "0 would let nothing through; give at least 1");
    }
    return rate;
  }

  // Called children first: their sum is complete.
  void Guarantee(const std::string& path, const Quota& quota) {
    ResolvedQuota& resolved = tree_.tenants.at(path);
    const Bytes children = sums_[path];
    const bool is_root = path == kRootPath;
    resolved.guarantee =
        is_root ? capacity_ : quota.guarantee.value_or(children);
    if (is_root && quota.guarantee.has_value()) {
      Problem(path, "guarantee",
              "the root has the whole pool; set the guarantees of tenants "
              "below it");
    } else if (children > resolved.guarantee) {
      Problem(path, "guarantee", "the guarantees of the tenants below ", path,
              " add up to ", FormatBytes(children), ", more than ",
              is_root ? "the pool's " : "its own ",
              FormatBytes(resolved.guarantee));
    } else if (!is_root && resolved.guarantee > resolved.limit) {
      Problem(path, "guarantee", "the guarantee of ",
              FormatBytes(resolved.guarantee), " is above the limit of ",
              FormatBytes(resolved.limit));
    } else if (is_root && children > resolved.limit) {
      Problem(path, "limit",
              "the guarantees of the tenants below root add up "
              "to ",
              FormatBytes(children), ", more than its limit of ",
              FormatBytes(resolved.limit));
    }
    if (is_root) return;
    Bytes& sum = sums_[ParentOf(path)];
    const std::optional<Bytes> more = CheckedAdd(sum, resolved.guarantee);
    sum = more.value_or(Bytes(UINT64_MAX));
  }

  const Bytes default_limit_;
  const Bytes capacity_;
  std::map<std::string, Quota> written_;
  std::map<std::string, Bytes> sums_;  // Of the children's guarantees.
  QuotaTree tree_;
};

}  // namespace

const char* RateName(RateKind kind) {
  switch (kind) {
    case RateKind::kLeases:
      return "leases_per_second";
    case RateKind::kBytes:
      return "bytes_per_second";
    case RateKind::kRpcs:
      return "rpcs_per_second";
  }
  return "";
}

const char* BurstName(RateKind kind) {
  switch (kind) {
    case RateKind::kLeases:
      return "leases_burst";
    case RateKind::kBytes:
      return "bytes_burst";
    case RateKind::kRpcs:
      return "rpcs_burst";
  }
  return "";
}

bool IsTenantPath(std::string_view path) {
  size_t depth = 0;
  for (size_t begin = 0; begin <= path.size(); ++depth) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view component = path.substr(begin, end - begin);
    if (depth == 0 ? component != kRootPath : !IsComponent(component)) {
      return false;
    }
    begin = end + 1;
  }
  return depth <= kMaxDepth;
}

Quota Changed(const Quota& quota, const Quota& change) {
  Quota changed = quota;
  const auto take = [](auto& value, const auto& set) {
    if (set.has_value()) value = set;
  };
  take(changed.limit, change.limit);
  take(changed.guarantee, change.guarantee);
  take(changed.priority, change.priority);
  take(changed.weight, change.weight);
  take(changed.lends, change.lends);
  take(changed.unreclaimable_burst, change.unreclaimable_burst);
  take(changed.evict, change.evict);
  take(changed.sessions, change.sessions);
  take(changed.objects, change.objects);
  take(changed.metadata, change.metadata);
  for (size_t i = 0; i < kRateKinds; ++i) {
    take(changed.rates[i].per_second, change.rates[i].per_second);
    take(changed.rates[i].burst, change.rates[i].burst);
  }
  return changed;
}

QuotaTree ResolveQuotas(const std::vector<TenantSetting>& tenants,
                        Bytes default_limit, Bytes capacity) {
  return Resolver(tenants, default_limit, capacity).Run();
}

}  // namespace vrampool
