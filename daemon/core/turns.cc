#include "daemon/core/turns.h"

#include <algorithm>

#include "base/check.h"

namespace vrampool {

void Turns::Join(TenantId tenant) {
  const uint64_t given = AccountOf(tenant);
  Account& account = accounts_[tenant];
  account.given = given;
  ++account.waiting;
  ++waiting_;
}

void Turns::Leave(TenantId tenant) {
  Account& account = accounts_.at(tenant);
  VRAMPOOL_CHECK(account.waiting > 0);
  --account.waiting;
  --waiting_;
  if (waiting_ > 0) return;
  accounts_.clear();
  last_served_ = 0;
}

void Turns::Serve(TenantId tenant, uint64_t cost) {
  if (waiting_ == 0) return;
  const uint64_t given = AccountOf(tenant);
  last_served_ = std::max(last_served_, given);
  accounts_[tenant].given = given + cost;
}

void Turns::TakeBack(TenantId tenant, uint64_t cost) {
  const auto found = accounts_.find(tenant);
  if (found == accounts_.end()) return;  // They have begun anew since.
  uint64_t& given = found->second.given;
  given -= std::min(given, cost);
}

uint64_t Turns::AccountOf(TenantId tenant) const {
  const auto found = accounts_.find(tenant);
  if (found == accounts_.end()) return last_served_;
  const Account& account = found->second;
  if (account.waiting > 0) return account.given;
  return std::max(account.given, last_served_);
}

}  // namespace vrampool
