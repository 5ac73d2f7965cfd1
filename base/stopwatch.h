// stopwatch.h - how long something takes, whatever happens to the clock on the
// wall.
//
// Threads: a value type. Daemon side only (needs Abseil).

#ifndef VRAMPOOL_BASE_STOPWATCH_H_
#define VRAMPOOL_BASE_STOPWATCH_H_

#include <chrono>

#include "absl/time/time.h"

namespace vrampool {

class Stopwatch {
 public:
  // Since it was made.
  absl::Duration elapsed() const {
    return absl::FromChrono(std::chrono::steady_clock::now() - begin_);
  }

 private:
  const std::chrono::steady_clock::time_point begin_ =
      std::chrono::steady_clock::now();
};

}  // namespace vrampool

#endif  // VRAMPOOL_BASE_STOPWATCH_H_
