// What tenants have open of others' memory: see ledger.h.

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/core/ledger.h"
#include "daemon/core/refusal.h"

namespace vrampool {

Pledge::Pledge(Pledge&& other) noexcept
    : ledger_(std::exchange(other.ledger_, nullptr)),
      size_(other.size_),
      nodes_(std::exchange(other.nodes_, {})) {}

Pledge& Pledge::operator=(Pledge&& other) noexcept {
  if (this != &other) {
    End();
    ledger_ = std::exchange(other.ledger_, nullptr);
    size_ = other.size_;
    nodes_ = std::exchange(other.nodes_, {});
  }
  return *this;
}

Pledge::~Pledge() { End(); }

void Pledge::End() {
  for (const TenantId at : nodes_) {
    Ledger::Node& n = ledger_->node(at);
    n.opened -= size_;
    n.excused = std::min(n.excused, n.excess());
  }
  nodes_.clear();
  ledger_ = nullptr;
}

std::set<TenantId> Ledger::NodesOf(TenantId payer,
                                   const std::set<TenantId>& tenants) const {
  std::set<TenantId> nodes;
  for (const TenantId tenant : tenants) {
    for (std::optional<TenantId> at = tenant; at; at = node(*at).parent) {
      if (IsWithin(payer, *at)) break;  // The charge counts here and above.
      nodes.insert(*at);
    }
  }
  return nodes;
}

void Ledger::AddPledge(Pledge& pledge, const std::set<TenantId>& nodes,
                       Bytes size) {
  if (nodes.empty()) return;
  pledge.ledger_ = this;
  pledge.size_ = size;
  pledge.nodes_ = nodes;
  for (const TenantId at : nodes) {
    node(at).opened += size;
    Excuse(node(at));
  }
}

void Ledger::SetPledge(Pledge& pledge, TenantId payer,
                       const std::set<TenantId>& tenants, Bytes size) {
  std::set<TenantId> nodes = NodesOf(payer, tenants);
  if (nodes == pledge.nodes_) return;
  pledge.End();
  AddPledge(pledge, nodes, size);
}

bool Ledger::IsPledge(const Pledge& pledge, TenantId payer,
                      const std::set<TenantId>& tenants) const {
  return pledge.nodes_ == NodesOf(payer, tenants);
}

absl::Status Ledger::CanOpen(const Pledge& pledge, TenantId payer,
                             TenantId tenant, Bytes size) const {
  for (const TenantId at : NodesOf(payer, {tenant})) {
    const Node& n = node(at);
    if (pledge.nodes_.contains(at) || n.room_beside_need() >= size) continue;
    return Refuse(
        {.reason = Reason::kQuotaExceeded,
         .subject = n.path,
         .asked = size,
         .charged = size,
         .used = n.used,
         .limit = n.resolved.limit,
         .largest_free = available(tenant),
         .guarantee = guarantee(tenant)},
        absl::StrCat(
            "tenant ", n.path, " is at ", FormatBytes(n.used), " of ",
            FormatBytes(n.resolved.limit), " and has ", FormatBytes(n.opened),
            " of other tenants' memory open; opening ", FormatBytes(size),
            " more would pass its limit, against which that counts. "
            "Close objects of other tenants, give back memory of "
            "this one, or have the limit raised."));
  }
  return absl::OkStatus();
}

void Ledger::PassOn(Charge& charge, Pledge& pledge, TenantId payer,
                    const std::set<TenantId>& tenants) {
  const Bytes size = charge.size();
  pledge = Pledge();
  charge = Charge();
  charge = TakeRegardless(payer, size);
  SetPledge(pledge, payer, tenants, size);
}

}  // namespace vrampool
