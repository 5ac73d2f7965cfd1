// listener.h - the socket files of a daemon and the link that finds them.
//
//   DIR/<uuid>/attach.sock   SOCK_SEQPACKET
//   DIR/<uuid>/broker.sock   SOCK_STREAM
//   DIR/gpuN -> <uuid>       N the number wished for, else the lowest free one,
//                            or that of a link which a former daemon of this
//                            device left behind
//
// A socket has its final mode from the moment it exists: the mode is set on the
// socket before it is bound, and the umask does not take part.
//
// Threads: not thread-safe. Destroying it unlinks what it made.

#ifndef VRAMPOOL_DAEMON_ATTACH_LISTENER_H_
#define VRAMPOOL_DAEMON_ATTACH_LISTENER_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "daemon/attach/claim.h"

namespace vrampool {

class Listener {
 public:
  struct Options {
    Claim::Target target;
    mode_t socket_mode = 0666;
    std::string link_prefix = "gpu";
    int link_number = 0;  // Tried first.
  };

  // Claims, replaces stale sockets, listens and links. Errors: as Claim::Take;
  // FailedPrecondition also when a path is too long or in the way.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(const Options& options);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Listening and non-blocking.
  int attach_socket() const { return attach_.fd.get(); }
  int broker_socket() const { return broker_.fd.get(); }
  int claim_socket() const { return claim_.socket(); }

 private:
  struct BoundSocket {
    std::string path;  // Empty: not bound.
    UniqueFd fd;
  };

  explicit Listener(Claim claim) : claim_(std::move(claim)) {}

  Claim claim_;  // Last to go: what is below is ours only while we have it.
  BoundSocket attach_;
  BoundSocket broker_;
  std::string link_;  // Empty: none.
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_LISTENER_H_
