// ledger.h - how many bytes each tenant is charged, and how many it may be.
//
// Tenants form a tree ("root", "root/team-a", "root/team-a/training"); a charge
// counts against a tenant and all its ancestors. One Take() checks and reserves
// along the whole path: there is no check that an act could follow too late.
// The Ledger only counts: it allocates nothing, reads no clock, and knows
// neither slabs nor sessions.
//
// Guarantees. A tenant claims of its parent what it uses or, if that is more,
// what it is guaranteed; so a tenant needs its own charges and the claims of
// its children, and that sum must stay within its limit:
//
//   need(t)  = own charges of t + sum of claim(c) over t's children c
//   claim(t) = max(need(t), guarantee(t)); need(t) if t lends
//
// What others claim but do not use is in nobody else's reach. A request that a
// guarantee covers makes no claim grow that is not there already, so nothing
// above that tenant is in its way, however much others burst. A tenant that
// lends claims only what it uses: others may burst in the rest, and what they
// have there must be got back (see arbiter.h) when it asks.
//
// Pledges. What a tenant has open of another's memory is charged to that other,
// until it lets go; it must then be this tenant's without asking. So it counts
// against the limits on this tenant's path from the start, once for each slab
// and tenant, but not where the charge itself counts it already:
//
//   opened(t) = the slabs that t, or somebody below it, has open and for which
//               neither t nor anybody below it is charged
//
// It fills no guarantee: what is guaranteed can be leased beside it, as far as
// the limit goes.
//
// Invariants (CheckInvariants() verifies them):
//   L1  used(t) == own charges of t + sum of used(c) over t's children c
//   L2  used(t) <= peak(t)
//   L3  need(t) and claim(t) are as above
//   L4  need(t) + opened(t) <= limit(t), at the root the pool, but for what was
//       above when limits or guarantees were set while running, when a state
//       was read back, or when a charge was passed on beside a guarantee that
//       it had filled, and has not been given back since. No Take() adds to
//       that.
//   L5  covered(t) <= available(t) where L4 holds without exception and nobody
//       lends: whatever others use, a guarantee can be had
// From L4, for the root: the sum over its children of max(used, guarantee) is
// at most the pool, where nobody lends.
//
// Threads: not thread-safe. The Arbiter owns it.
//
// Lifetime: a Charge or Pledge points back at its Ledger, which must outlive
// it.

#ifndef VRAMPOOL_DAEMON_CORE_LEDGER_H_
#define VRAMPOOL_DAEMON_CORE_LEDGER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "daemon/core/quota.h"

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
  bool is_empty() const { return ledger_ == nullptr; }
  TenantId tenant() const { return tenant_; }  // REQUIRES: not empty.

  // Takes `size` of it into a charge of its own. REQUIRES: size <= size().
  Charge Split(Bytes size);

 private:
  friend class Ledger;
  Charge(Ledger* ledger, TenantId tenant, Bytes size);
  void GiveBack();

  Ledger* ledger_ = nullptr;  // Null when empty.
  TenantId tenant_{};
  Bytes size_;
};

// One slab, counted against tenants that have it open while another is charged
// for it. Destroying it ends that. Movable; moved-from is empty.
class [[nodiscard]] Pledge {
 public:
  Pledge() = default;  // Empty: counts nothing.
  Pledge(Pledge&& other) noexcept;
  Pledge& operator=(Pledge&& other) noexcept;
  ~Pledge();

 private:
  friend class Ledger;
  void End();

  Ledger* ledger_ = nullptr;  // Null when empty.
  Bytes size_;
  std::set<TenantId> nodes_;  // Where it counts.
};

// Why a charge does not fit, and where.
struct Obstacle {
  TenantId tenant;  // The lowest on the path that is in the way.
  // True: what is left there is kept for the guarantees of others. False: its
  // limit would be passed.
  bool is_reserved = false;
};

class Ledger {
 public:
  // `capacity` is the pool's; tenants made without a limit of their own get
  // `default_limit`.
  Ledger(Bytes capacity, Bytes default_limit);
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
  //   QUOTA_EXCEEDED  some limit on the path would be passed, or what is left
  //                   under it is kept for others' guarantees; carries the
  //                   numbers of the lowest such tenant. Nothing has changed.
  absl::StatusOr<Charge> Take(TenantId tenant, Bytes size, Bytes asked);

  // Counts without asking: for state that is read back after a restart, which
  // may lie above a limit.
  Charge TakeRegardless(TenantId tenant, Bytes size);

  // Counts a slab of `size`, for which `payer` is charged, as open for
  // `tenants`, in place of what `pledge` counted. Asks nobody: see CanOpen().
  void SetPledge(Pledge& pledge, TenantId payer,
                 const std::set<TenantId>& tenants, Bytes size);

  // It counts what SetPledge() would make it count.
  bool IsPledge(const Pledge& pledge, TenantId payer,
                const std::set<TenantId>& tenants) const;

  // OK if `tenant` could be one more of them.
  //   QUOTA_EXCEEDED  a limit on its path would be passed
  absl::Status CanOpen(const Pledge& pledge, TenantId payer, TenantId tenant,
                       Bytes size) const;

  // Passes a charge on to `payer`, which has pledged it with others, without
  // asking. `tenants` are those that have it open then.
  void PassOn(Charge& charge, Pledge& pledge, TenantId payer,
              const std::set<TenantId>& tenants);

  // The highest use ever, when that was before a restart.
  void RaisePeak(TenantId tenant, Bytes peak);

  // Could Take() ever succeed under the quotas as they are, if nobody used
  // anything?
  bool CouldEverTake(TenantId tenant, Bytes size) const;

  // What is in the way of Take(), if anything is.
  std::optional<Obstacle> FindObstacle(TenantId tenant, Bytes size) const;

  // True if a guarantee, of the tenant or above, covers all of the request:
  // it may have it whatever others do.
  bool IsCovered(TenantId tenant, Bytes size) const;

  // By how much need(at) would grow; zero if `at` is not on the path.
  Bytes Growth(TenantId tenant, Bytes size, TenantId at) const;

  // True if `tenant` is `ancestor` or below it.
  bool IsWithin(TenantId tenant, TenantId ancestor) const;

  // Sets the quotas of all tenants at once: those that are not listed have
  // none of their own any more. Also below what is in use; nothing is taken
  // back. InvalidArgument (BAD_ARGUMENT) lists what does not fit together (see
  // ResolveQuotas), or a path that is none; then nothing has changed.
  absl::Status SetQuotas(const std::vector<TenantSetting>& tenants,
                         Bytes default_limit);
  // Likewise, of one tenant; the others keep theirs.
  absl::Status SetQuota(TenantId tenant, const Quota& quota);
  const Quota& quota(TenantId tenant) const;  // As it was set.
  Bytes default_limit() const { return default_limit_; }

  const std::string& path(TenantId tenant) const;
  std::optional<TenantId> parent(TenantId tenant) const;  // The root has none.
  Bytes used(TenantId tenant) const;
  Bytes opened(TenantId tenant) const;  // By pledges.
  Bytes limit(TenantId tenant) const;
  Bytes peak(TenantId tenant) const;
  Bytes guarantee(TenantId tenant) const;  // The root's is zero.
  const ResolvedQuota& resolved(TenantId tenant) const;
  // The most that Take() would give; zero when over a limit.
  Bytes available(TenantId tenant) const;
  // Of that, what a guarantee covers.
  Bytes covered(TenantId tenant) const;
  // The most that Take() could ever give; see CouldEverTake().
  Bytes obtainable(TenantId tenant) const;
  // The smallest limit on the way to the root.
  Bytes effective_limit(TenantId tenant) const;
  // What the tenant would have to give back to be within guarantees: its own
  // or those above.
  Bytes burst(TenantId tenant) const;
  // What is claimed in all, and not used.
  Bytes unfilled() const;
  // Somebody below the root has a guarantee.
  bool has_guarantees() const;
  // Parents before children.
  std::vector<TenantId> tenants() const;

  // Aborts unless L1 to L5 hold. Walks every tenant.
  void CheckInvariants() const;

 private:
  friend class Charge;
  friend class Pledge;
  struct Node {
    std::string path;
    std::optional<TenantId> parent;
    Quota quota = {};
    ResolvedQuota resolved = {};
    Bytes own = {};   // Charged to this very tenant.
    Bytes used = {};  // With its descendants'.
    Bytes need = {};
    Bytes base_need = {};  // What it would need if nobody used anything.
    Bytes excused = {};    // How far it may be above its limit; see L4.
    Bytes peak = {};
    Bytes opened = {};  // By pledges.

    // Under the limit, beside what is used, and what is needed.
    Bytes room_beside_used() const;
    Bytes room_beside_need() const;
    Bytes excess() const;  // Above the limit.
    Bytes ClaimFor(Bytes needed) const;
    Bytes claim() const { return ClaimFor(need); }
  };
  const Node& node(TenantId tenant) const;
  Node& node(TenantId tenant);
  void Add(TenantId tenant, Bytes size);
  void GiveBack(TenantId tenant, Bytes size);
  void Excuse(Node& node) const;
  std::set<TenantId> NodesOf(TenantId payer,
                             const std::set<TenantId>& tenants) const;
  void AddPledge(Pledge& pledge, const std::set<TenantId>& nodes, Bytes size);
  // Sets base_need, need and excused of all from own and the quotas.
  void Recount();
  std::vector<TenantSetting> Settings() const;
  void Resolve(const QuotaTree& tree);
  absl::Status RefuseFor(const Obstacle& obstacle, TenantId tenant, Bytes size,
                         Bytes asked) const;

  const Bytes capacity_;
  Bytes default_limit_;
  std::vector<Node> nodes_;  // By TenantId; parents have smaller ids.
  std::map<std::string, TenantId, std::less<>> by_path_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_LEDGER_H_
