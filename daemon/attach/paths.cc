#include "daemon/attach/paths.h"

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "proto/attach/messages.h"

namespace vrampool {
namespace {

constexpr mode_t kDirectoryMode = 0755;
constexpr size_t kPathOffset = offsetof(sockaddr_un, sun_path);

absl::string_view View(std::string_view text) {
  return {text.data(), text.size()};
}

absl::Status TooLong(std::string_view name, size_t limit) {
  return absl::FailedPreconditionError(absl::StrCat(
      "the socket's path \"", View(name), "\" has ", name.size(),
      " bytes, the system allows ", limit, ": choose a shorter directory"));
}

absl::Status MakeOne(const std::string& path) {
  if (::mkdir(path.c_str(), kDirectoryMode) == 0 || errno == EEXIST) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("cannot make the directory ", path, ": ",
                   std::strerror(errno), "; make it or choose another"));
}

absl::Status CheckDirectory(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot look at the directory ", path, ": ", std::strerror(errno)));
  }
  if (!S_ISDIR(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is not a directory: remove it"));
  }
  // A sticky directory such as /tmp is fine: nobody else can rename or remove
  // what is ours in it.
  const bool others_write = (info.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  if (others_write && (info.st_mode & S_ISVTX) == 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "others can write to the directory ", path,
        " and could put their own sockets there: chmod go-w, or choose "
        "another"));
  }
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the directory ", path, " belongs to uid ", info.st_uid,
                     ", this daemon runs as uid ", ::geteuid(),
                     ": chown it, or choose another"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SocketAddress> PathAddress(std::string_view path) {
  SocketAddress address;
  constexpr size_t kLimit = sizeof(address.raw.sun_path) - 1;
  if (path.empty() || path.size() > kLimit) return TooLong(path, kLimit);
  address.raw.sun_family = AF_UNIX;
  std::memcpy(address.raw.sun_path, path.data(), path.size());
  address.length = static_cast<socklen_t>(kPathOffset + path.size() + 1);
  return address;
}

absl::StatusOr<SocketAddress> AbstractAddress(std::string_view name) {
  SocketAddress address;
  constexpr size_t kLimit = sizeof(address.raw.sun_path) - 1;
  if (name.empty() || name.size() > kLimit) return TooLong(name, kLimit);
  address.raw.sun_family = AF_UNIX;
  std::memcpy(address.raw.sun_path + 1, name.data(), name.size());
  address.length = static_cast<socklen_t>(kPathOffset + 1 + name.size());
  return address;
}

absl::Status WithoutUmask(const std::function<absl::Status()>& make) {
  absl::Status result;
  // A thread that leaves the shared file system attributes has a umask of its
  // own; other threads that create files meanwhile are not affected.
  std::thread thread([&] {
    const bool is_shared = ::unshare(CLONE_FS) != 0;
    const mode_t before = ::umask(0);
    result = make();
    if (is_shared) ::umask(before);
  });
  thread.join();
  return result;
}

absl::Status EnsureDirectory(const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos;
       at = path.find('/', at + 1)) {
    VRAMPOOL_RETURN_IF_ERROR(MakeOne(path.substr(0, at)));
  }
  VRAMPOOL_RETURN_IF_ERROR(MakeOne(path));
  return CheckDirectory(path);
}

bool IsFileName(std::string_view uuid) {
  return !uuid.empty() && uuid.size() < attach::kUuidBytes &&
         uuid.front() != '.' &&
         std::all_of(uuid.begin(), uuid.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                  c == '.' || c == '_' || c == '-';
         });
}

}  // namespace vrampool
