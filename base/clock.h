// clock.h - where the daemon's code gets the time from.
//
// Threads: thread-safe. Daemon side only (needs Abseil).

#ifndef VRAMPOOL_BASE_CLOCK_H_
#define VRAMPOOL_BASE_CLOCK_H_

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace vrampool {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;
};

class RealClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
};

}  // namespace vrampool

#endif  // VRAMPOOL_BASE_CLOCK_H_
