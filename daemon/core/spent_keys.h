// spent_keys.h - the idempotency keys whose leases a session gave back last.
//
// A call that its caller gave up may reach the daemon late: behind the repeated
// one that was answered, and behind the return of what that was granted. Then
// no lease has its key any more, and to grant another one would be a lease that
// nobody knows of. So a key is remembered for a while after its lease; a number
// that is far above that of calls which can be on their way bounds it.
//
// Threads: not thread-safe. A session of the Arbiter owns it.

#ifndef VRAMPOOL_DAEMON_CORE_SPENT_KEYS_H_
#define VRAMPOOL_DAEMON_CORE_SPENT_KEYS_H_

#include <algorithm>
#include <cstddef>
#include <vector>

#include "daemon/core/requests.h"

namespace vrampool {

class SpentKeys {
 public:
  static constexpr size_t kMost = 256;

  // Forgets the oldest when there are more than kMost.
  void Add(const IdempotencyKey& key) {
    if (keys_.size() < kMost) {
      keys_.push_back(key);
    } else {
      keys_[next_] = key;
      next_ = (next_ + 1) % kMost;
    }
  }
  bool Contains(const IdempotencyKey& key) const {
    return std::find(keys_.begin(), keys_.end(), key) != keys_.end();
  }

 private:
  std::vector<IdempotencyKey> keys_;
  size_t next_ = 0;  // The oldest, when all places are taken.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_SPENT_KEYS_H_
