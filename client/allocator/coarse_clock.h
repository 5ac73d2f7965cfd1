// coarse_clock.h - the time of day for records of blocks: a few milliseconds
// late, and a few nanoseconds dear (clock_gettime(2), CLOCK_REALTIME_COARSE).

#ifndef VRAMPOOL_CLIENT_ALLOCATOR_COARSE_CLOCK_H_
#define VRAMPOOL_CLIENT_ALLOCATOR_COARSE_CLOCK_H_

#include <time.h>

#include <cstdint>

namespace vrampool::client {

inline int64_t CoarseUnixNs() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_ALLOCATOR_COARSE_CLOCK_H_
