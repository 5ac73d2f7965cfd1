// service_manager.h - what systemd hears of the daemon (sd_notify): ready,
// status, stopping, and the watchdog's beat. Does nothing where there is no
// service manager.
//
// Beat() is called by the loop that serves and beats only while the daemon does
// its work, so that one that hangs is restarted. What is asked for before each
// beat is the caller's `alive`.
//
// Threads: Beat() by one thread; the others are thread-safe.

#ifndef VRAMPOOL_DAEMON_OBSERVE_SERVICE_MANAGER_H_
#define VRAMPOOL_DAEMON_OBSERVE_SERVICE_MANAGER_H_

#include <chrono>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace vrampool {

class ServiceManager {
 public:
  // Reads WATCHDOG_USEC and WATCHDOG_PID. `alive` says whether the daemon does
  // its work; it may take a while.
  explicit ServiceManager(std::function<absl::Status()> alive);

  void Ready(const std::string& status) const;
  void Reloading() const;  // Until Ready().
  void Stopping() const;

  // Every half of the watchdog's time asks `alive` and beats if it says Ok; if
  // not, logs what it says and asks again at the next call.
  void Beat();

  // Zero: no watchdog is wanted.
  absl::Duration interval() const { return interval_; }

 private:
  const std::function<absl::Status()> alive_;
  absl::Duration interval_;
  // Not the wall clock's: setting that back must not stop the beat.
  std::chrono::steady_clock::time_point next_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_OBSERVE_SERVICE_MANAGER_H_
