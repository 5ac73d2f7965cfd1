#include "daemon/config/policy.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

template <typename T>
bool Contains(const std::vector<T>& list, T value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// Whether `path` is `prefix` or lies below it. A trailing slash of the prefix
// means nothing, so "/" is above every path.
bool IsWithin(std::string_view path, std::string_view prefix) {
  while (!prefix.empty() && prefix.back() == '/') {
    prefix.remove_suffix(1);
  }
  if (path.empty() || path.substr(0, prefix.size()) != prefix) return false;
  return path.size() == prefix.size() || path[prefix.size()] == '/';
}

bool Matches(const Policy::Rule& rule, const PeerIdentity& peer) {
  return (rule.uids.empty() || Contains(rule.uids, peer.uid)) &&
         (rule.gids.empty() || Contains(rule.gids, peer.gid)) &&
         (rule.cgroup_prefix.empty() ||
          IsWithin(peer.cgroup, rule.cgroup_prefix));
}

absl::Status NoPolicy(const PeerIdentity& peer) {
  return Refuse(
      Reason::kNoPolicy,
      absl::StrCat("the daemon's policy admits no process of uid ", peer.uid,
                   ", gid ", peer.gid, ", cgroup \"", peer.cgroup,
                   "\": ask its administrator for a rule"));
}

}  // namespace

Policy::Policy(Options options)
    : options_(std::make_shared<const Options>(std::move(options))) {}

void Policy::Replace(Options options) {
  auto replacement = std::make_shared<const Options>(std::move(options));
  const MutexLock lock(mu_);
  options_.swap(replacement);
}

std::shared_ptr<const Policy::Options> Policy::options() const {
  const MutexLock lock(mu_);
  return options_;
}

absl::StatusOr<std::string> Policy::TenantOf(const PeerIdentity& peer) const {
  const std::shared_ptr<const Options> all = options();
  const auto rule =
      std::find_if(all->rules.begin(), all->rules.end(),
                   [&](const Rule& r) { return Matches(r, peer); });
  const std::string& tenant =
      rule != all->rules.end() ? rule->tenant : all->default_tenant;
  if (tenant.empty()) return NoPolicy(peer);
  return tenant;
}

bool Policy::IsAdmin(const PeerIdentity& peer) const {
  const std::shared_ptr<const Options> all = options();
  return peer.uid == 0 || peer.uid == all->daemon_uid ||
         Contains(all->admin_uids, peer.uid) ||
         Contains(all->admin_gids, peer.gid);
}

}  // namespace vrampool
