#include "daemon/core/ledger.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "daemon/core/refusal.h"

namespace vrampool {
namespace {

constexpr std::string_view kRootPath = "root";

}  // namespace

Charge::Charge(Ledger* ledger, TenantId tenant, Bytes size)
    : ledger_(ledger), tenant_(tenant), size_(size) {}

Charge::Charge(Charge&& other) noexcept
    : ledger_(std::exchange(other.ledger_, nullptr)),
      tenant_(other.tenant_),
      size_(std::exchange(other.size_, Bytes())) {}

Charge& Charge::operator=(Charge&& other) noexcept {
  if (this != &other) {
    GiveBack();
    ledger_ = std::exchange(other.ledger_, nullptr);
    tenant_ = other.tenant_;
    size_ = std::exchange(other.size_, Bytes());
  }
  return *this;
}

Charge::~Charge() { GiveBack(); }

Charge Charge::Split(Bytes size) {
  size_ -= size;
  return Charge(ledger_, tenant_, size);
}

void Charge::GiveBack() {
  if (ledger_ != nullptr) ledger_->GiveBack(tenant_, size_);
  ledger_ = nullptr;
  size_ = Bytes();
}

Bytes Ledger::Node::room_beside_used() const {
  return SaturatingSub(resolved.limit, SaturatingAdd(used, opened));
}

Bytes Ledger::Node::room_beside_need() const {
  return SaturatingSub(resolved.limit, SaturatingAdd(need, opened));
}

Bytes Ledger::Node::excess() const {
  return SaturatingSub(SaturatingAdd(need, opened), resolved.limit);
}

Bytes Ledger::Node::ClaimFor(Bytes needed) const {
  if (resolved.lends) return needed;
  return std::max(needed, resolved.guarantee);
}

Ledger::Ledger(Bytes capacity, Bytes default_limit)
    : capacity_(capacity), default_limit_(default_limit) {
  nodes_.push_back({.path = std::string(kRootPath), .parent = std::nullopt});
  by_path_.emplace(kRootPath, kRoot);
  Resolve(ResolveQuotas({}, default_limit_, capacity_));
}

Ledger::~Ledger() {
  for (const Node& n : nodes_) {
    VRAMPOOL_CHECK(n.used.is_zero() && n.opened.is_zero());
  }
}

absl::StatusOr<TenantId> Ledger::FindOrMake(std::string_view path) {
  if (const auto found = Find(path); found.has_value()) return *found;
  if (!IsTenantPath(path)) {
    return Refuse(Reason::kBadArgument,
                  absl::StrCat("'", std::string(path),
                               "' is no tenant path: use root/NAME/..."));
  }
  // "root" exists, so what is missing has a parent.
  const TenantId parent = *FindOrMake(path.substr(0, path.rfind('/')));
  const TenantId id{static_cast<uint32_t>(nodes_.size())};
  ResolvedQuota resolved = node(parent).resolved;  // Inherits what can be.
  resolved.limit = default_limit_;
  resolved.guarantee = Bytes();
  resolved.weight = 1;
  resolved.lends = false;
  resolved.rates = {};
  nodes_.push_back(
      {.path = std::string(path), .parent = parent, .resolved = resolved});
  by_path_.emplace(path, id);
  return id;
}

std::optional<TenantId> Ledger::Find(std::string_view path) const {
  const auto found = by_path_.find(path);
  if (found == by_path_.end()) return std::nullopt;
  return found->second;
}

absl::StatusOr<Charge> Ledger::Take(TenantId tenant, Bytes size, Bytes asked) {
  if (const auto obstacle = FindObstacle(tenant, size); obstacle.has_value()) {
    return RefuseFor(*obstacle, tenant, size, asked);
  }
  Add(tenant, size);
  return Charge(this, tenant, size);
}

absl::Status Ledger::RefuseFor(const Obstacle& obstacle, TenantId tenant,
                               Bytes size, Bytes asked) const {
  const Node& full = node(obstacle.tenant);
  Refusal refusal{.reason = Reason::kQuotaExceeded,
                  .subject = full.path,
                  .asked = asked,
                  .charged = size,
                  .used = full.used,
                  .limit = full.resolved.limit,
                  .largest_free = available(tenant),
                  .guarantee = guarantee(tenant)};
  std::string state =
      absl::StrCat("tenant ", full.path, " is at ", FormatBytes(full.used),
                   " of ", FormatBytes(full.resolved.limit));
  if (!full.opened.is_zero()) {
    absl::StrAppend(&state, ", with ", FormatBytes(full.opened),
                    " of other tenants' memory open");
  }
  if (!obstacle.is_reserved) {
    return Refuse(std::move(refusal),
                  absl::StrCat(state, "; ", FormatBytes(size),
                               " more would pass its limit. Give back memory "
                               "of this tenant, ask for less, or have the "
                               "limit raised."));
  }
  return Refuse(
      std::move(refusal),
      absl::StrCat(state, ", and ", FormatBytes(full.need - full.used),
                   " of the rest is kept for guarantees of others; ",
                   FormatBytes(size), " more would go beyond the guarantee of ",
                   FormatBytes(guarantee(tenant)), " of ", path(tenant),
                   ". Give back memory of this tenant, ask for less, or have "
                   "its guarantee raised."));
}

Charge Ledger::TakeRegardless(TenantId tenant, Bytes size) {
  Add(tenant, size);
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    Excuse(node(*at));
  }
  return Charge(this, tenant, size);
}

void Ledger::Excuse(Node& n) const {
  n.excused = std::max(n.excused, n.excess());
}

void Ledger::RaisePeak(TenantId tenant, Bytes peak) {
  node(tenant).peak = std::max(node(tenant).peak, peak);
}

void Ledger::Add(TenantId tenant, Bytes size) {
  node(tenant).own += size;
  Bytes growth = size;
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    Node& n = node(*at);
    n.used += size;
    n.peak = std::max(n.peak, n.used);
    const Bytes claimed = n.claim();
    n.need += growth;
    growth = n.claim() - claimed;
  }
}

void Ledger::GiveBack(TenantId tenant, Bytes size) {
  node(tenant).own -= size;
  Bytes shrinkage = size;
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    Node& n = node(*at);
    n.used -= size;
    const Bytes claimed = n.claim();
    n.need -= shrinkage;
    shrinkage = claimed - n.claim();
    n.excused = std::min(n.excused, n.excess());
  }
}

bool Ledger::CouldEverTake(TenantId tenant, Bytes size) const {
  return size <= obtainable(tenant);
}

std::optional<Obstacle> Ledger::FindObstacle(TenantId tenant,
                                             Bytes size) const {
  Bytes growth = size;
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    const Node& n = node(*at);
    if (n.room_beside_used() < size) {
      return Obstacle{.tenant = *at, .is_reserved = false};
    }
    if (!growth.is_zero() && n.room_beside_need() < growth) {
      return Obstacle{.tenant = *at, .is_reserved = true};
    }
    growth = SaturatingSub(growth, n.claim() - n.need);
  }
  return std::nullopt;
}

bool Ledger::IsCovered(TenantId tenant, Bytes size) const {
  return size <= covered(tenant);
}

Bytes Ledger::Growth(TenantId tenant, Bytes size, TenantId where) const {
  Bytes growth = size;
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    if (*at == where) return growth;
    growth = SaturatingSub(growth, node(*at).claim() - node(*at).need);
  }
  return Bytes();
}

bool Ledger::IsWithin(TenantId tenant, TenantId ancestor) const {
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    if (*at == ancestor) return true;
  }
  return false;
}

std::vector<TenantSetting> Ledger::Settings() const {
  std::vector<TenantSetting> settings;
  for (const Node& n : nodes_) {
    settings.push_back({.path = n.path, .quota = n.quota});
  }
  return settings;
}

absl::Status Ledger::SetQuotas(const std::vector<TenantSetting>& tenants,
                               Bytes default_limit) {
  for (const TenantSetting& tenant : tenants) {
    if (IsTenantPath(tenant.path)) continue;
    return Refuse(Reason::kBadArgument,
                  absl::StrCat("'", tenant.path,
                               "' is no tenant path: use root/NAME/..."));
  }
  // Those that exist and are not listed take part too.
  std::vector<TenantSetting> all = tenants;
  std::set<std::string> listed;
  for (const TenantSetting& tenant : tenants) listed.insert(tenant.path);
  for (const Node& n : nodes_) {
    if (!listed.contains(n.path)) all.push_back({.path = n.path});
  }
  const QuotaTree tree = ResolveQuotas(all, default_limit, capacity_);
  if (!tree.problems.empty()) {
    std::string text;
    for (const QuotaProblem& problem : tree.problems) {
      absl::StrAppend(&text, text.empty() ? "" : "; ", problem.path, ": ",
                      problem.text);
    }
    return Refuse(Reason::kBadArgument, text);
  }
  default_limit_ = default_limit;
  for (const TenantSetting& tenant : all) {
    node(*FindOrMake(tenant.path)).quota = tenant.quota;
  }
  Resolve(tree);
  return absl::OkStatus();
}

absl::Status Ledger::SetQuota(TenantId tenant, const Quota& quota) {
  std::vector<TenantSetting> settings = Settings();
  settings[static_cast<size_t>(tenant)].quota = quota;
  return SetQuotas(settings, default_limit_);
}

void Ledger::Resolve(const QuotaTree& tree) {
  for (Node& n : nodes_) n.resolved = tree.tenants.at(n.path);
  // The root's is the whole pool: nobody claims anything of it.
  node(kRoot).resolved.guarantee = Bytes();
  Recount();
}

void Ledger::Recount() {
  for (Node& n : nodes_) {
    n.need = n.own;
    n.base_need = Bytes();
  }
  for (size_t i = nodes_.size(); i-- > 0;) {
    Node& n = nodes_[i];
    n.excused = n.excess();
    if (!n.parent.has_value()) continue;
    node(*n.parent).need += n.claim();
    node(*n.parent).base_need += n.ClaimFor(n.base_need);
  }
}

const Quota& Ledger::quota(TenantId tenant) const { return node(tenant).quota; }
const ResolvedQuota& Ledger::resolved(TenantId tenant) const {
  return node(tenant).resolved;
}
std::optional<TenantId> Ledger::parent(TenantId tenant) const {
  return node(tenant).parent;
}
const std::string& Ledger::path(TenantId tenant) const {
  return node(tenant).path;
}
Bytes Ledger::used(TenantId tenant) const { return node(tenant).used; }
Bytes Ledger::opened(TenantId tenant) const { return node(tenant).opened; }
Bytes Ledger::limit(TenantId tenant) const { return resolved(tenant).limit; }
Bytes Ledger::guarantee(TenantId tenant) const {
  return resolved(tenant).guarantee;
}
Bytes Ledger::peak(TenantId tenant) const { return node(tenant).peak; }

// On the way up, what is claimed and not used covers the first part of a
// request: need grows by the rest only.
Bytes Ledger::available(TenantId tenant) const {
  Bytes least(UINT64_MAX);
  Bytes slack;
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    const Node& n = node(*at);
    least = std::min({least, n.room_beside_used(),
                      SaturatingAdd(n.room_beside_need(), slack)});
    slack += n.claim() - n.need;
  }
  return least;
}

Bytes Ledger::covered(TenantId tenant) const {
  Bytes most;
  Bytes least(UINT64_MAX);  // Of what the limits up to here let through.
  Bytes slack;
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    const Node& n = node(*at);
    least = std::min({least, n.room_beside_used(),
                      SaturatingAdd(n.room_beside_need(), slack)});
    const Bytes here = SaturatingSub(n.resolved.guarantee, n.need) + slack;
    most = std::max(most, std::min(least, here));
    slack += n.claim() - n.need;
  }
  return most;
}

Bytes Ledger::obtainable(TenantId tenant) const {
  Bytes least(UINT64_MAX);
  Bytes slack;
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    const Node& n = node(*at);
    least = std::min(
        {least, n.resolved.limit,
         SaturatingAdd(SaturatingSub(n.resolved.limit, n.base_need), slack)});
    slack += n.ClaimFor(n.base_need) - n.base_need;
  }
  return least;
}

Bytes Ledger::effective_limit(TenantId tenant) const {
  Bytes least = limit(tenant);
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    least = std::min(least, node(*at).resolved.limit);
  }
  return least;
}

Bytes Ledger::burst(TenantId tenant) const {
  Bytes least = tenant == kRoot ? node(kRoot).own : node(tenant).used;
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    const Node& n = node(*at);
    if (*at == kRoot) break;
    least = std::min(least, SaturatingSub(n.used, n.resolved.guarantee));
  }
  return least;
}

Bytes Ledger::unfilled() const { return node(kRoot).need - node(kRoot).used; }

bool Ledger::has_guarantees() const {
  return std::any_of(nodes_.begin(), nodes_.end(), [](const Node& n) {
    return !n.resolved.guarantee.is_zero();
  });
}

std::vector<TenantId> Ledger::tenants() const {
  std::vector<TenantId> ids;
  ids.reserve(by_path_.size());
  for (const auto& [path, id] : by_path_) ids.push_back(id);
  return ids;
}

void Ledger::CheckInvariants() const {
  std::vector<Bytes> used;
  std::vector<Bytes> need;
  for (const Node& n : nodes_) {
    used.push_back(n.own);
    need.push_back(n.own);
  }
  bool is_kept = true;
  for (size_t i = nodes_.size(); i-- > 0;) {
    const Node& n = nodes_[i];
    is_kept &= n.excused.is_zero() && !n.resolved.lends;
    VRAMPOOL_CHECK(used[i] == n.used);
    VRAMPOOL_CHECK(n.used <= n.peak);
    VRAMPOOL_CHECK(need[i] == n.need);
    VRAMPOOL_CHECK(n.used <= n.need);
    VRAMPOOL_CHECK(n.excess() <= n.excused);
    if (!n.parent.has_value()) continue;
    used[static_cast<size_t>(*n.parent)] += used[i];
    need[static_cast<size_t>(*n.parent)] += n.ClaimFor(need[i]);
  }
  if (!is_kept) return;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const TenantId id{static_cast<uint32_t>(i)};
    VRAMPOOL_CHECK(covered(id) <= available(id));
  }
}

const Ledger::Node& Ledger::node(TenantId tenant) const {
  return nodes_[static_cast<size_t>(tenant)];
}
Ledger::Node& Ledger::node(TenantId tenant) {
  return nodes_[static_cast<size_t>(tenant)];
}

}  // namespace vrampool
