#include "daemon/core/ledger.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "daemon/core/refusal.h"

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

void Charge::GiveBack() {
  if (ledger_ != nullptr) ledger_->GiveBack(tenant_, size_);
  ledger_ = nullptr;
  size_ = Bytes();
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

Ledger::Ledger(Bytes root_limit, Bytes default_limit)
    : default_limit_(default_limit) {
  nodes_.push_back({.path = std::string(kRootPath),
                    .parent = std::nullopt,
                    .limit = root_limit,
                    .own = {},
                    .used = {},
                    .peak = {}});
  by_path_.emplace(kRootPath, kRoot);
}

Ledger::~Ledger() { VRAMPOOL_CHECK(used(kRoot).is_zero()); }

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
  nodes_.push_back({.path = std::string(path),
                    .parent = parent,
                    .limit = default_limit_,
                    .own = {},
                    .used = {},
                    .peak = {}});
  by_path_.emplace(path, id);
  return id;
}

std::optional<TenantId> Ledger::Find(std::string_view path) const {
  const auto found = by_path_.find(path);
  if (found == by_path_.end()) return std::nullopt;
  return found->second;
}

absl::StatusOr<Charge> Ledger::Take(TenantId tenant, Bytes size, Bytes asked) {
  if (const auto obstacle = Obstacle(tenant, size); obstacle.has_value()) {
    const Node& full = node(*obstacle);
    Refusal refusal{.reason = Reason::kQuotaExceeded,
                    .subject = full.path,
                    .asked = asked,
                    .charged = size,
                    .used = full.used,
                    .limit = full.limit,
                    .largest_free = available(tenant),
                    .retry_after = std::nullopt};
    return Refuse(
        std::move(refusal),
        absl::StrCat("tenant ", full.path, " is at ", FormatBytes(full.used),
                     " of ", FormatBytes(full.limit), "; ", FormatBytes(size),
                     " more would pass its limit. Give back memory of this "
                     "tenant, ask for less, or have the limit raised."));
  }
  Add(tenant, size);
  return Charge(this, tenant, size);
}

Charge Ledger::TakeRegardless(TenantId tenant, Bytes size) {
  Add(tenant, size);
  return Charge(this, tenant, size);
}

void Ledger::RaisePeak(TenantId tenant, Bytes peak) {
  node(tenant).peak = std::max(node(tenant).peak, peak);
}

void Ledger::Add(TenantId tenant, Bytes size) {
  node(tenant).own += size;
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    Node& n = node(*at);
    n.used += size;
    n.peak = std::max(n.peak, n.used);
  }
}

void Ledger::GiveBack(TenantId tenant, Bytes size) {
  node(tenant).own -= size;
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    node(*at).used -= size;
  }
}

bool Ledger::CouldEverTake(TenantId tenant, Bytes size) const {
  return size <= effective_limit(tenant);
}

std::optional<TenantId> Ledger::Obstacle(TenantId tenant, Bytes size) const {
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    if (SaturatingSub(node(*at).limit, node(*at).used) < size) return at;
  }
  return std::nullopt;
}

bool Ledger::IsWithin(TenantId tenant, TenantId ancestor) const {
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    if (*at == ancestor) return true;
  }
  return false;
}

void Ledger::SetLimit(TenantId tenant, Bytes limit) {
  node(tenant).limit = limit;
}

const std::string& Ledger::path(TenantId tenant) const {
  return node(tenant).path;
}
Bytes Ledger::used(TenantId tenant) const { return node(tenant).used; }
Bytes Ledger::limit(TenantId tenant) const { return node(tenant).limit; }
Bytes Ledger::peak(TenantId tenant) const { return node(tenant).peak; }

Bytes Ledger::available(TenantId tenant) const {
  Bytes least = SaturatingSub(limit(tenant), used(tenant));
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    least = std::min(least, SaturatingSub(node(*at).limit, node(*at).used));
  }
  return least;
}

Bytes Ledger::effective_limit(TenantId tenant) const {
  Bytes least = limit(tenant);
  for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
    least = std::min(least, node(*at).limit);
  }
  return least;
}

std::vector<TenantId> Ledger::tenants() const {
  std::vector<TenantId> ids;
  ids.reserve(by_path_.size());
  for (const auto& [path, id] : by_path_) ids.push_back(id);
  return ids;
}

void Ledger::CheckInvariants() const {
  std::vector<Bytes> sums;
  sums.reserve(nodes_.size());
  for (const Node& n : nodes_) sums.push_back(n.own);
  for (size_t i = nodes_.size(); i-- > 1;) {
    sums[static_cast<size_t>(*nodes_[i].parent)] += sums[i];
  }
  for (size_t i = 0; i < nodes_.size(); ++i) {
    VRAMPOOL_CHECK(sums[i] == nodes_[i].used);
    VRAMPOOL_CHECK(nodes_[i].used <= nodes_[i].peak);
  }
}

const Ledger::Node& Ledger::node(TenantId tenant) const {
  return nodes_[static_cast<size_t>(tenant)];
}
Ledger::Node& Ledger::node(TenantId tenant) {
  return nodes_[static_cast<size_t>(tenant)];
}

}  // namespace vrampool
