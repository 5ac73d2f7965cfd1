// rate_bucket.h - how fast something may go on: so much in each second, and so
// much at once (a token bucket).
//
// A bucket holds credit: at most the rate's burst, and it fills at the rate. To
// take something is to take that much credit. What is worth more than the
// bucket holds needs it full and leaves it in debt: nothing is too large for
// ever, and the average is the rate all the same.
//
// Invariants:
//   R1  in any time t, at most max(burst, the largest request) + rate * t is
//       taken, and what was given back
//   R2  as long as it is not full, it gives exactly rate * t: nothing is lost
//   to
//       rounding, however long it runs and however often it is looked at
//
// What is kept is what is missing, in billionths of a unit, so that a whole
// number of nanoseconds fills in a whole number; 128 bits hold any rate times
// any time. Time that goes back (the clock was set) fills nothing.
//
// Threads: not thread-safe. The rate and the time are passed in.

#ifndef VRAMPOOL_DAEMON_CORE_RATE_BUCKET_H_
#define VRAMPOOL_DAEMON_CORE_RATE_BUCKET_H_

#include <cstdint>

#include "absl/numeric/int128.h"
#include "absl/time/time.h"
#include "daemon/core/quota.h"

namespace vrampool {

class RateBucket {
 public:
  // Full.
  RateBucket() = default;

  // How long until `amount` can be taken, if `ahead` is taken before it as soon
  // as that can be; zero: now. REQUIRES, here and below: the rate bounds
  // something.
  absl::Duration TimeUntil(const Rate& rate, uint64_t amount, uint64_t ahead,
                           absl::Time now) const;
  bool Has(const Rate& rate, uint64_t amount, absl::Time now) const {
    return TimeUntil(rate, amount, 0, now) == absl::ZeroDuration();
  }

  // REQUIRES: Has(amount).
  void Take(const Rate& rate, uint64_t amount, absl::Time now);
  // What was taken was not used after all.
  void GiveBack(uint64_t amount);

  // Brings it up to date: before its rate changes, and when the clock may have
  // been set back.
  void Advance(const Rate& rate, absl::Time now);

 private:
  absl::uint128 MissingAt(const Rate& rate, absl::Time now) const;

  absl::uint128 missing_ = 0;  // In billionths.
  absl::Time since_ = absl::InfinitePast();
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_RATE_BUCKET_H_
