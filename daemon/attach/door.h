// door.h - both listening sockets of a daemon and the life of its sessions.
//
// The Door owns DIR/<uuid>/attach.sock and broker.sock. It accepts every
// connection itself, learns from the kernel who is there, keeps the attach
// connections (one per session), and hands the others to a ConnectionSink (the
// gRPC server). It watches each session's socket and pidfd and tells the Broker
// when either ends.
//
// Sockets are created with their final mode. One daemon per directory and per
// device: both are claimed before anything is touched (a lock file in the
// directory; an abstract socket named by the device, which tells a second
// daemon the first one's pid). A stale socket of a dead daemon is replaced. A
// link DIR/gpuN (host devices: DIR/hostN) points to the device's directory, N
// the number wished for or the lowest free one.
//
// Threads: Run() is the one loop; the other calls are thread-safe where marked.

#ifndef VRAMPOOL_DAEMON_ATTACH_DOOR_H_
#define VRAMPOOL_DAEMON_ATTACH_DOOR_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/unique_fd.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/session_tokens.h"
#include "daemon/config/policy.h"
#include "daemon/core/peer.h"

namespace vrampool {

// Where accepted gRPC connections go. Called from the Door's loop.
class ConnectionSink {
 public:
  virtual ~ConnectionSink() = default;
  // Takes over a connected, non-blocking stream socket. May refuse by closing.
  virtual void Adopt(UniqueFd connection, const PeerIdentity& peer) = 0;
};

class Door {
 public:
  struct Options {
    std::string directory;  // Made (0755) if missing.
    std::string device_uuid;
    mode_t socket_mode = 0666;
    std::string link_prefix = "gpu";  // "host" for host devices.
    int link_number = 0;              // The N to take if it is free.
    // The loop calls this at least every `tick` while it serves (the watchdog),
    // and sooner if the last call said after how long.
    std::function<absl::Duration()> on_tick;
    absl::Duration tick = absl::Seconds(1);
  };

  // Claims the device and the directory and opens both sockets.
  //   AlreadyExists       another daemon serves the device or the directory;
  //                       the message names its pid. It is not disturbed.
  //   FailedPrecondition  the directory cannot be used; the message says why.
  static absl::StatusOr<std::unique_ptr<Door>> Open(Options options,
                                                    Broker& broker,
                                                    SessionTokens& tokens,
                                                    const Policy& policy,
                                                    ConnectionSink& sink);
  // Closes and unlinks the sockets and the link. REQUIRES: Run() has returned.
  virtual ~Door() = default;

  // Serves until Stop().
  virtual void Run() = 0;

  // Makes Run() return soon. Thread-safe, also from a signal handler.
  virtual void Stop() = 0;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_DOOR_H_
