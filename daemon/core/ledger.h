// ledger.h - how many bytes each tenant is charged, and how many it may be.
//
// Tenants form a tree ("root", "root/team-a", "root/team-a/training"); a charge
// counts against a tenant and all its ancestors. One Take() checks and reserves
// along the whole path: there is no check that an act could follow too late.
// The Ledger only counts: it allocates nothing, reads no clock, and knows
// neither slabs nor sessions.
//
// Invariants (CheckInvariants() verifies them):
//   L1  used(t) == own charges of t + sum of used(c) over t's children c
//   L2  used(t) <= peak(t)
// A limit can be set below what is in use; used(t) <= limit(t) is therefore no
// invariant, but no Take() ever makes used(t) exceed limit(t).
//
// Threads: not thread-safe. The Arbiter owns it.
//
// Lifetime: a Charge points back at its Ledger, which must outlive it.

#ifndef VRAMPOOL_DAEMON_CORE_LEDGER_H_
#define VRAMPOOL_DAEMON_CORE_LEDGER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"

namespace vrampool {

enum class TenantId : uint32_t {};

class Ledger;

// Bytes counted against one tenant and its ancestors. Destroying it gives them
// back. Movable; moved-from is empty.
class [[nodiscard]] Charge {
 public:
  Charge() = default;  // Empty: counts nothing.
  Charge(Charge&& other) noexcept;
  Charge& operator=(Charge&& other) noexcept;
  ~Charge();

  Bytes size() const { return size_; }

 private:
  friend class Ledger;
  Charge(Ledger* ledger, TenantId tenant, Bytes size);
  void GiveBack();

  Ledger* ledger_ = nullptr;  // Null when empty.
  TenantId tenant_{};
  Bytes size_;
};

// True if `path` names a tenant: "root" or "root/...", at most 8 components of
// at most 64 characters out of letters, digits, '.', '_' and '-'.
bool IsTenantPath(std::string_view path);

class Ledger {
 public:
  // `root_limit` is the pool's capacity; tenants made without a limit of their
  // own get `default_limit`.
  Ledger(Bytes root_limit, Bytes default_limit);
  ~Ledger();  // REQUIRES: no Charge is left.
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  static constexpr TenantId kRoot{0};

  // The tenant with this path, made with its missing ancestors if need be.
  // InvalidArgument unless IsTenantPath(path).
  absl::StatusOr<TenantId> FindOrMake(std::string_view path);
  std::optional<TenantId> Find(std::string_view path) const;

  // Counts `size` against `tenant` and its ancestors for as long as the Charge
  // lives. `asked` is what the client asked for, for the message.
  //   QUOTA_EXCEEDED  some limit on the path would be passed; carries the
  //                   numbers of the lowest such tenant. Nothing has changed.
  absl::StatusOr<Charge> Take(TenantId tenant, Bytes size, Bytes asked);

  // Counts without asking: for state that is read back after a restart, which
  // may lie above a limit.
  Charge TakeRegardless(TenantId tenant, Bytes size);

  // The highest use ever, when that was before a restart.
  void RaisePeak(TenantId tenant, Bytes peak);

  // Could Take() ever succeed under the limits as they are?
  bool CouldEverTake(TenantId tenant, Bytes size) const;

  // The lowest tenant on the path whose limit is in the way, if one is.
  std::optional<TenantId> Obstacle(TenantId tenant, Bytes size) const;

  // True if `tenant` is `ancestor` or below it.
  bool IsWithin(TenantId tenant, TenantId ancestor) const;

  void SetLimit(TenantId tenant, Bytes limit);

  const std::string& path(TenantId tenant) const;
  Bytes used(TenantId tenant) const;
  Bytes limit(TenantId tenant) const;
  Bytes peak(TenantId tenant) const;
  // Under its own and all its ancestors' limits; zero when over one of them.
  Bytes available(TenantId tenant) const;
  // The smallest limit on the way to the root.
  Bytes effective_limit(TenantId tenant) const;
  // Parents before children.
  std::vector<TenantId> tenants() const;

  // Aborts unless L1 and L2 hold. Walks every tenant.
  void CheckInvariants() const;

 private:
  friend class Charge;
  struct Node {
    std::string path;
    std::optional<TenantId> parent;
    Bytes limit;
    Bytes own;   // Charged to this very tenant.
    Bytes used;  // With its descendants'.
    Bytes peak;
  };
  const Node& node(TenantId tenant) const;
  Node& node(TenantId tenant);
  void Add(TenantId tenant, Bytes size);
  void GiveBack(TenantId tenant, Bytes size);

  const Bytes default_limit_;
  std::vector<Node> nodes_;  // By TenantId; parents have smaller ids.
  std::map<std::string, TenantId, std::less<>> by_path_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_LEDGER_H_
