// stop_signals.h - SIGTERM and SIGINT as a call on an ordinary thread.
//
// The signals are blocked in every thread and read from a descriptor, so what
// they cause is free of a signal handler's restrictions. Only the first one
// counts. SIGPIPE and SIGHUP are ignored: a client that went away is an error
// of one call, and there is nothing to reload.
//
// Threads: `on_stop` runs on a thread of StopSignals' own.

#ifndef VRAMPOOL_DAEMON_STOP_SIGNALS_H_
#define VRAMPOOL_DAEMON_STOP_SIGNALS_H_

#include <functional>
#include <memory>
#include <string_view>
#include <thread>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace vrampool {

class StopSignals {
 public:
  // Blocks the signals. REQUIRES: the process has one thread, so that all later
  // ones inherit this.
  static absl::StatusOr<std::unique_ptr<StopSignals>> Block();

  // Returns after `on_stop`, if it has begun, has returned.
  ~StopSignals();

  // From now on the first signal calls `on_stop` with its name. A signal that
  // came earlier counts. REQUIRES: called once.
  void Watch(std::function<void(std::string_view signal)> on_stop);

 private:
  StopSignals(UniqueFd signals, UniqueFd cancel);
  void Loop(const std::function<void(std::string_view)>& on_stop);

  const UniqueFd signals_;
  const UniqueFd cancel_;
  std::thread thread_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_STOP_SIGNALS_H_
