// policy.h - who belongs to which tenant, and who is an admin.
//
// Rules look only at what the kernel says of a peer (uid, gid, cgroup), never
// at what it says of itself. The first rule that matches decides.
//
// Threads: thread-safe. Each answer is of one whole set of options.

#ifndef VRAMPOOL_DAEMON_CONFIG_POLICY_H_
#define VRAMPOOL_DAEMON_CONFIG_POLICY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "daemon/core/peer.h"

namespace vrampool {

class Policy {
 public:
  // What is set must match; nothing set matches every peer.
  struct Rule {
    std::vector<uid_t> uids;
    std::vector<gid_t> gids;
    std::string cgroup_prefix;  // Matches whole path components.
    std::string tenant;         // Empty: refuse.
    bool operator==(const Rule&) const = default;
  };
  struct Options {
    std::vector<Rule> rules;
    std::string default_tenant;  // Empty: unmatched peers are refused.
    std::vector<uid_t> admin_uids;
    std::vector<gid_t> admin_gids;
    uid_t daemon_uid = 0;
    bool operator==(const Options&) const = default;
  };

  explicit Policy(Options options);
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;

  // From now on; who has been admitted stays where it is.
  void Replace(Options options);

  // The tenant's path, or PermissionDenied (NO_POLICY).
  absl::StatusOr<std::string> TenantOf(const PeerIdentity& peer) const;

  // True for uid 0, the daemon's own uid and those that the options list.
  bool IsAdmin(const PeerIdentity& peer) const;

 private:
  std::shared_ptr<const Options> options() const;

  mutable Mutex mu_;
  // Shared with answers under way.
  std::shared_ptr<const Options> options_ VRAMPOOL_GUARDED_BY(mu_);
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CONFIG_POLICY_H_
