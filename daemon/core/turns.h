// turns.h - whose turn it is among tenants that wait for memory.
//
// Each tenant has an account of what it was given while others waited: bytes
// over its weight. Who has been given least is next. A tenant that begins to
// wait is lifted to the account of who was served last, so nobody saves up
// turns by staying away; and when nobody waits any more all accounts begin
// anew, so nobody pays for what harmed nobody.
//
// Why nobody starves: an account that waits stands still, every other one grows
// when its tenant is served, and whoever comes is lifted to where the others
// are. So only so much is given to others before it is the least.
//
// Threads: not thread-safe. The Arbiter owns it.

#ifndef VRAMPOOL_DAEMON_CORE_TURNS_H_
#define VRAMPOOL_DAEMON_CORE_TURNS_H_

#include <cstddef>
#include <cstdint>
#include <map>

#include "daemon/core/ledger.h"

namespace vrampool {

class Turns {
 public:
  // One request of `tenant` waits, or no longer does.
  // REQUIRES: as many Leave() as Join().
  void Join(TenantId tenant);
  void Leave(TenantId tenant);

  // `tenant` was given something, waiting or not; or had to let it go again.
  // Counts only while somebody waits.
  void Serve(TenantId tenant, uint64_t cost);
  void TakeBack(TenantId tenant, uint64_t cost);

  // The least is next. Also of one that does not wait: as if it began to now.
  uint64_t AccountOf(TenantId tenant) const;

  size_t waiting() const { return waiting_; }

 private:
  struct Account {
    uint64_t given = 0;
    size_t waiting = 0;
  };
  std::map<TenantId, Account> accounts_;
  size_t waiting_ = 0;
  uint64_t last_served_ = 0;  // The account of who was, before it grew.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_TURNS_H_
