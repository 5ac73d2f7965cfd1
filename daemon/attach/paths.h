// paths.h - directories, socket addresses and file modes of the attach door.
//
// Threads: WithoutUmask changes the umask of a thread of its own where the
// kernel allows that, else for a moment that of the process; the others are
// thread-safe.

#ifndef VRAMPOOL_DAEMON_ATTACH_PATHS_H_
#define VRAMPOOL_DAEMON_ATTACH_PATHS_H_

#include <sys/socket.h>
#include <sys/un.h>

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace vrampool {

struct SocketAddress {
  sockaddr_un raw = {};
  socklen_t length = 0;
  const sockaddr* get() const {
    return reinterpret_cast<const sockaddr*>(&raw);
  }
};

// The address of a socket file, or of an abstract name (without its leading
// NUL). FailedPrecondition, naming path, length and limit, when it is too long.
absl::StatusOr<SocketAddress> PathAddress(std::string_view path);
absl::StatusOr<SocketAddress> AbstractAddress(std::string_view name);

// Runs `make` with umask 0, so that what it creates has the mode it asks for.
absl::Status WithoutUmask(const std::function<absl::Status()>& make);

// Makes `path` and its missing parents with mode 0755 and checks that it is a
// directory in which no other user can replace what we put there.
// FailedPrecondition, with what to do, otherwise. Call inside WithoutUmask.
absl::Status EnsureDirectory(const std::string& path);

// Whether `uuid` can be the name of a directory: 1 to 63 of A-Z a-z 0-9 . _ -,
// not beginning with a dot.
bool IsFileName(std::string_view uuid);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_PATHS_H_
