// claim.h - at most one daemon for a device and for a directory.
//
// Two claims, both the kernel's and both gone with the process, however it
// ends:
//   device     the abstract socket "\0vrampool/device/<uuid>", which listens so
//              that a second daemon can connect and read the holder's pid;
//   directory  a lock (flock) on DIR/<uuid>/lock, whose text is the holder's
//              pid. Abstract sockets end at a network namespace, the lock does
//              not.
// The lock file stays when the claim is given up: removing it would let two
// daemons lock two files of the same name.
//
// Threads: not thread-safe. Movable.

#ifndef VRAMPOOL_DAEMON_ATTACH_CLAIM_H_
#define VRAMPOOL_DAEMON_ATTACH_CLAIM_H_

#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace vrampool {

class Claim {
 public:
  struct Target {
    std::string directory;
    std::string device_uuid;
  };

  // Makes DIR and DIR/<uuid> (0755) where missing, then claims.
  //   AlreadyExists       somebody else has it; the message names its pid.
  //   FailedPrecondition  the directory or the uuid cannot be used.
  static absl::StatusOr<Claim> Take(const Target& target);

  // Non-blocking. Whoever connects here only wants to know our pid: accept and
  // close.
  int socket() const { return socket_.get(); }

 private:
  Claim(UniqueFd socket, UniqueFd lock)
      : socket_(std::move(socket)), lock_(std::move(lock)) {}

  UniqueFd socket_;
  UniqueFd lock_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_CLAIM_H_
