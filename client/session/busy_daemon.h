// busy_daemon.h - what to do when the daemon has too many calls in progress:
// hundreds of processes that start at the same moment are no mistake of any of
// them. Whoever is turned away waits a little and calls again.
//
// Threads: an object belongs to one call.

#ifndef VRAMPOOL_CLIENT_SESSION_BUSY_DAEMON_H_
#define VRAMPOOL_CLIENT_SESSION_BUSY_DAEMON_H_

#include <chrono>
#include <cstdint>

#include "client/session/control_channel.h"

namespace vrampool::client {

// The call was refused before it began, because of its company alone.
bool WasTurnedAway(const CallOutcome& outcome);

class BusyDaemon {
 public:
  // In all, before the refusal is the caller's.
  static constexpr std::chrono::seconds kPatience{10};

  // Sleeps a while, longer each time, and not as long as others who were turned
  // away at the same moment. False, at once, when the patience is at its end.
  bool WaitAWhile();

 private:
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end_ = Clock::now() + kPatience;
  std::chrono::microseconds most_{4000};
};

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_BUSY_DAEMON_H_
