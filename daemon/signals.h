// signals.h - SIGTERM, SIGINT and SIGHUP as calls on an ordinary thread.
//
// The signals are blocked in every thread and read from a descriptor, so what
// they cause is free of a signal handler's restrictions. Of SIGTERM and SIGINT
// only the first counts; nothing is heard after it. SIGPIPE is ignored: a
// client that went away is an error of one call.
//
// Threads: both calls run on a thread of Signals' own, one after the other.

#ifndef VRAMPOOL_DAEMON_SIGNALS_H_
#define VRAMPOOL_DAEMON_SIGNALS_H_

#include <functional>
#include <memory>
#include <string_view>
#include <thread>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace vrampool {

class Signals {
 public:
  // Blocks the signals. REQUIRES: the process has one thread, so that all later
  // ones inherit this.
  static absl::StatusOr<std::unique_ptr<Signals>> Block();

  // Returns after a call that has begun has returned.
  ~Signals();

  // From now on SIGHUP calls `on_hang_up`, and the first of the others calls
  // `on_stop` with its name. A signal that came earlier counts. REQUIRES:
  // called once.
  void Watch(std::function<void(std::string_view signal)> on_stop,
             std::function<void()> on_hang_up);

 private:
  Signals(UniqueFd signals, UniqueFd cancel);
  void Loop(const std::function<void(std::string_view)>& on_stop,
            const std::function<void()>& on_hang_up);
  // The next signal's number; 0 when there will be no more.
  int Next();

  const UniqueFd signals_;
  const UniqueFd cancel_;
  std::thread thread_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_SIGNALS_H_
