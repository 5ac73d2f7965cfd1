#include "daemon/attach/identity.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "daemon/attach/command_lines.h"
#include "daemon/core/clean_text.h"

namespace vrampool {
namespace {

constexpr int kSoPeerPidfd = 77;  // Linux 6.5; older headers lack it.
constexpr size_t kMaxCommandLineBytes = 256;
constexpr size_t kMaxProcTextBytes = 8192;

absl::Status FromErrno(int error, absl::string_view doing) {
  return absl::InternalError(absl::StrCat(doing, ": ", std::strerror(error)));
}

absl::Status Gone(pid_t pid) {
  return absl::PermissionDeniedError(
      absl::StrCat("process ", pid, " has gone"));
}

// The first bytes of a file in /proc. Empty when it cannot be read.
std::string ReadProc(pid_t pid, absl::string_view name) {
  const std::string path = absl::StrCat("/proc/", pid, "/", name);
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(kMaxProcTextBytes, '\0');
  size_t length = 0;
  while (file.is_valid() && length < text.size()) {
    const ssize_t got =
        ::read(file.get(), text.data() + length, text.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    length += static_cast<size_t>(got);
  }
  text.resize(length);
  return text;
}

// Made at the first use and never unmade: its thread may be stuck.
std::string ReadCommandLine(pid_t pid) {
  static CommandLines& lines = *new CommandLines(
      {.read = [](pid_t of) { return ReadProc(of, "cmdline"); }});
  return CommandLineFromProc(lines.Of(pid));
}

std::string ReadExecutable(pid_t pid) {
  const std::string path = absl::StrCat("/proc/", pid, "/exe");
  char target[PATH_MAX];
  const ssize_t length = ::readlink(path.c_str(), target, sizeof(target));
  if (length <= 0) return "";  // Another user's, and we are not privileged.
  return CleanText(std::string_view(target, static_cast<size_t>(length)),
                   PATH_MAX);
}

absl::StatusOr<UniqueFd> OpenPidfd(int socket, const ucred& peer) {
  int raw = -1;
  socklen_t length = sizeof(raw);
  if (::getsockopt(socket, SOL_SOCKET, kSoPeerPidfd, &raw, &length) == 0) {
    return UniqueFd(raw);
  }
  if (errno == ESRCH || errno == EINVAL) return Gone(peer.pid);
  if (errno != ENOPROTOOPT) return FromErrno(errno, "asking for a pidfd");
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0)));
  if (!pidfd.is_valid()) {
    if (errno == ESRCH) return Gone(peer.pid);
    return FromErrno(errno, "opening a pidfd");
  }
  if (EffectiveUidFromStatus(ReadProc(peer.pid, "status")) != peer.uid) {
    return Gone(peer.pid);
  }
  return pidfd;
}

bool IsAlive(int pidfd) {
  pollfd poll_fd = {.fd = pidfd, .events = POLLIN, .revents = 0};
  return ::poll(&poll_fd, 1, 0) == 0;
}

}  // namespace

std::optional<uint64_t> StartTimeFromStat(std::string_view stat) {
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) return std::nullopt;
  std::string_view rest = stat.substr(name_end + 1);
  // What follows is " state(3) ppid(4) ...": the start time is the 20th.
  for (int field = 3; field <= 22; ++field) {
    if (rest.empty() || rest.front() != ' ') return std::nullopt;
    rest.remove_prefix(1);
    if (field < 22) {
      rest.remove_prefix(std::min(rest.find(' '), rest.size()));
    }
  }
  uint64_t ticks = 0;
  const auto [end, error] =
      std::from_chars(rest.data(), rest.data() + rest.size(), ticks);
  const bool ends_well =
      end == rest.data() + rest.size() || *end == ' ' || *end == '\n';
  if (error != std::errc() || !ends_well) return std::nullopt;
  return ticks;
}

std::optional<uid_t> EffectiveUidFromStatus(std::string_view status) {
  constexpr std::string_view kKey = "\nUid:\t";
  const size_t at = status.find(kKey);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = status.substr(at + kKey.size());
  const size_t tab = rest.find('\t');  // Behind the real uid.
  if (tab == std::string_view::npos) return std::nullopt;
  rest.remove_prefix(tab + 1);
  uid_t uid = 0;
  const auto [end, error] =
      std::from_chars(rest.data(), rest.data() + rest.size(), uid);
  if (error != std::errc() || end == rest.data()) return std::nullopt;
  return uid;
}

std::string CgroupFromProc(std::string_view cgroup) {
  constexpr std::string_view kV2 = "0::";
  while (!cgroup.empty()) {
    const size_t line_end = std::min(cgroup.find('\n'), cgroup.size());
    const std::string_view line = cgroup.substr(0, line_end);
    if (line.substr(0, kV2.size()) == kV2) {
      return CleanText(line.substr(kV2.size()), PATH_MAX);
    }
    cgroup.remove_prefix(std::min(line_end + 1, cgroup.size()));
  }
  return "";
}

std::string CommandLineFromProc(std::string_view cmdline) {
  std::string text(cmdline);
  while (!text.empty() && text.back() == '\0') text.pop_back();
  for (char& c : text) {
    if (c == '\0') c = ' ';
  }
  return CleanText(text, kMaxCommandLineBytes);
}

absl::StatusOr<Peer> IdentifyPeer(int socket) {
  ucred credentials = {};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) !=
      0) {
    return FromErrno(errno, "asking for the peer's credentials");
  }
  const pid_t pid = credentials.pid;
  if (pid <= 0) {
    return absl::PermissionDeniedError(
        "the kernel gives pid 0 for this process: it runs in a pid namespace "
        "that the daemon cannot see; share the pid namespace");
  }
  Peer peer;
  VRAMPOOL_ASSIGN_OR_RETURN(peer.pidfd, OpenPidfd(socket, credentials));
  const std::optional<uint64_t> start_time =
      StartTimeFromStat(ReadProc(pid, "stat"));
  peer.identity = {.pid = pid,
                   .uid = credentials.uid,
                   .gid = credentials.gid,
                   .start_time_ticks = start_time.value_or(0),
                   .cgroup = CgroupFromProc(ReadProc(pid, "cgroup")),
                   .executable = ReadExecutable(pid),
                   .command_line = ReadCommandLine(pid)};
  if (!IsAlive(peer.pidfd.get())) return Gone(pid);
  if (!start_time.has_value()) {
    return absl::InternalError(
        absl::StrCat("/proc/", pid,
                     "/stat cannot be read: /proc must be mounted without "
                     "hidepid for the daemon"));
  }
  return peer;
}

}  // namespace vrampool
