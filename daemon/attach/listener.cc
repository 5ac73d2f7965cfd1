#include "daemon/attach/listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/attach/paths.h"
#include "proto/attach/messages.h"

namespace vrampool {
namespace {

constexpr int kBacklog = 1024;  // Cut by the kernel to net.core.somaxconn.
constexpr int kMaxLinks = 1024;

absl::Status CannotUse(absl::string_view doing) {
  return absl::FailedPreconditionError(
      absl::StrCat(doing, ": ", std::strerror(errno)));
}

// Removes the socket that a dead daemon left at `path`. We hold the claims, so
// no living one listens there.
absl::Status RemoveStale(const std::string& path) {
  struct stat info = {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return CannotUse(absl::StrCat("looking at ", path));
  }
  if (!S_ISSOCK(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is in the way and is no socket: remove it"));
  }
  if (::unlink(path.c_str()) != 0) {
    return CannotUse(absl::StrCat("removing the stale socket ", path));
  }
  return absl::OkStatus();
}

// Call inside WithoutUmask.
absl::Status BindAndListen(const std::string& path, int type, mode_t mode,
                           UniqueFd& out) {
  VRAMPOOL_ASSIGN_OR_RETURN(const SocketAddress address, PathAddress(path));
  VRAMPOOL_RETURN_IF_ERROR(RemoveStale(path));
  UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_valid()) return CannotUse("making a socket");
  if (::fchmod(socket.get(), mode) != 0) {
    return CannotUse(absl::StrCat("setting the mode of ", path));
  }
  if (::bind(socket.get(), address.get(), address.length) != 0) {
    return CannotUse(absl::StrCat("binding ", path));
  }
  if (::listen(socket.get(), kBacklog) != 0) {
    const absl::Status error = CannotUse(absl::StrCat("listening on ", path));
    ::unlink(path.c_str());
    return error;
  }
  out = std::move(socket);
  return absl::OkStatus();
}

bool PointsTo(const std::string& link, const std::string& target) {
  char text[PATH_MAX];
  const ssize_t length = ::readlink(link.c_str(), text, sizeof(text));
  return length > 0 && std::string(text, static_cast<size_t>(length)) == target;
}

absl::StatusOr<std::string> MakeLink(const Listener::Options& options) {
  const std::string& uuid = options.target.device_uuid;
  const std::string stem =
      absl::StrCat(options.target.directory, "/", options.link_prefix);
  for (int n = 0; n < kMaxLinks; ++n) {
    std::string link = absl::StrCat(stem, n);
    if (PointsTo(link, uuid)) return link;
  }
  for (int n = -1; n < kMaxLinks; ++n) {
    std::string link = absl::StrCat(stem, n < 0 ? options.link_number : n);
    if (::symlink(uuid.c_str(), link.c_str()) == 0) return link;
    if (errno != EEXIST) return CannotUse(absl::StrCat("making ", link));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(stem, "0 to ", kMaxLinks - 1,
                   " are all taken: remove those that nobody uses"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(
    const Options& options) {
  const std::string own = absl::StrCat(options.target.directory, "/",
                                       options.target.device_uuid, "/");
  const std::string attach_path = absl::StrCat(own, attach::kAttachSocketName);
  const std::string broker_path = absl::StrCat(own, attach::kBrokerSocketName);
  // Before anything is made.
  VRAMPOOL_RETURN_IF_ERROR(PathAddress(attach_path).status());
  VRAMPOOL_RETURN_IF_ERROR(PathAddress(broker_path).status());

  VRAMPOOL_ASSIGN_OR_RETURN(Claim claim, Claim::Take(options.target));
  // The constructor is private, so make_unique cannot reach it.
  std::unique_ptr<Listener> listener(new Listener(std::move(claim)));
  const absl::Status bound = WithoutUmask([&]() -> absl::Status {
    VRAMPOOL_RETURN_IF_ERROR(BindAndListen(attach_path, SOCK_SEQPACKET,
                                           options.socket_mode,
                                           listener->attach_.fd));
    listener->attach_.path = attach_path;
    VRAMPOOL_RETURN_IF_ERROR(BindAndListen(
        broker_path, SOCK_STREAM, options.socket_mode, listener->broker_.fd));
    listener->broker_.path = broker_path;
    return absl::OkStatus();
  });
  if (!bound.ok()) return bound;
  VRAMPOOL_ASSIGN_OR_RETURN(listener->link_, MakeLink(options));
  return listener;
}

Listener::~Listener() {
  if (!link_.empty()) ::unlink(link_.c_str());
  if (!broker_.path.empty()) ::unlink(broker_.path.c_str());
  if (!attach_.path.empty()) ::unlink(attach_.path.c_str());
}

}  // namespace vrampool
