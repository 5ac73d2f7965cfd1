#include "daemon/attach/claim.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/attach/paths.h"
#include "proto/attach/messages.h"

namespace vrampool {
namespace {

constexpr int kBacklog = 16;
constexpr mode_t kLockMode = 0644;

absl::Status CannotUse(absl::string_view doing) {
  return absl::FailedPreconditionError(
      absl::StrCat(doing, ": ", std::strerror(errno)));
}

// Who listens at `address`, in words.
std::string DescribeListener(const SocketAddress& address) {
  const UniqueFd socket(
      ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ucred owner = {};
  socklen_t length = sizeof(owner);
  if (!socket.is_valid() ||
      ::connect(socket.get(), address.get(), address.length) != 0 ||
      ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &owner, &length) !=
          0 ||
      owner.pid <= 0) {
    return "a process that does not say its pid (it may be starting)";
  }
  return absl::StrCat("the process with pid ", owner.pid, " (uid ", owner.uid,
                      ")");
}

absl::StatusOr<UniqueFd> ClaimDevice(const std::string& uuid) {
  VRAMPOOL_ASSIGN_OR_RETURN(
      const SocketAddress address,
      AbstractAddress(absl::StrCat("vrampool/device/", uuid)));
  UniqueFd socket(
      ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_valid()) return CannotUse("making a socket");
  if (::bind(socket.get(), address.get(), address.length) != 0) {
    if (errno != EADDRINUSE) return CannotUse("claiming the device");
    return absl::AlreadyExistsError(absl::StrCat(
        "device ", uuid, " is already served by ", DescribeListener(address),
        ": stop it first, or choose another device"));
  }
  if (::listen(socket.get(), kBacklog) != 0) {
    return CannotUse("listening on the device's claim");
  }
  return socket;
}

// The pid in the lock file, in words.
std::string DescribeLockHolder(int lock) {
  char text[32] = {};
  const ssize_t length = ::pread(lock, text, sizeof(text), 0);
  pid_t pid = 0;
  if (length > 0) std::from_chars(text, text + length, pid);
  return pid > 0 ? absl::StrCat("the process with pid ", pid)
                 : "a process that did not write its pid";
}

absl::StatusOr<UniqueFd> LockDirectory(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", attach::kLockName);
  UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                       kLockMode));
  if (!lock.is_valid()) {
    return CannotUse(absl::StrCat("opening the lock file ", path));
  }
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return CannotUse(absl::StrCat("locking ", path));
    return absl::AlreadyExistsError(
        absl::StrCat("directory ", directory, " is already served by ",
                     DescribeLockHolder(lock.get()),
                     ": stop it first, or choose another directory"));
  }
  const std::string pid = absl::StrCat(::getpid(), "\n");
  if (::ftruncate(lock.get(), 0) != 0 ||
      ::pwrite(lock.get(), pid.data(), pid.size(), 0) !=
          static_cast<ssize_t>(pid.size())) {
    return CannotUse(absl::StrCat("writing ", path));
  }
  return lock;
}

}  // namespace

absl::StatusOr<Claim> Claim::Take(const Target& target) {
  if (!IsFileName(target.device_uuid)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the device's id \"", target.device_uuid,
                     "\" cannot be the name of a directory"));
  }
  VRAMPOOL_ASSIGN_OR_RETURN(UniqueFd socket, ClaimDevice(target.device_uuid));
  const std::string own =
      absl::StrCat(target.directory, "/", target.device_uuid);
  const absl::Status made = WithoutUmask([&]() -> absl::Status {
    VRAMPOOL_RETURN_IF_ERROR(EnsureDirectory(target.directory));
    return EnsureDirectory(own);
  });
  if (!made.ok()) return made;
  VRAMPOOL_ASSIGN_OR_RETURN(UniqueFd lock, LockDirectory(own));
  return Claim(std::move(socket), std::move(lock));
}

}  // namespace vrampool
