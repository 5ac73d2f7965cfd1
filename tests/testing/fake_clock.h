// fake_clock.h - a clock that moves only when a test says so. Thread-safe.

#ifndef VRAMPOOL_TESTS_TESTING_FAKE_CLOCK_H_
#define VRAMPOOL_TESTS_TESTING_FAKE_CLOCK_H_

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace vrampool::testing {

class FakeClock final : public Clock {
 public:
  absl::Time Now() const override {
    MutexLock lock(mu_);
    return now_;
  }
  void Advance(absl::Duration by) {
    MutexLock lock(mu_);
    now_ += by;
  }

 private:
  mutable Mutex mu_;
  absl::Time now_ VRAMPOOL_GUARDED_BY(mu_) = absl::FromUnixSeconds(1700000000);
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_TESTING_FAKE_CLOCK_H_
