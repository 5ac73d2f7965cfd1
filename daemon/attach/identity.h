// identity.h - who is at the other end of a unix socket, by the kernel's word.
//
// The kernel keeps the pid, uid and gid of whoever connected. A pid alone is no
// identity, since pids are reused; so the process is pinned by a pidfd, what
// /proc says is read, and then the pidfd must still say "alive": while a
// process is alive (or a zombie) nobody else can have its pid, so everything
// read belongs to it.
//
// Kernels before 6.5 have no SO_PEERPIDFD. There the pidfd is opened from the
// pid, and a process that died between connecting and that moment could be
// taken for a younger one with the same pid. It is refused unless that one has
// the same effective uid, so the mistake never crosses users.
//
// Threads: pure functions of the kernel's state.

#ifndef VRAMPOOL_DAEMON_ATTACH_IDENTITY_H_
#define VRAMPOOL_DAEMON_ATTACH_IDENTITY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "daemon/core/peer.h"

namespace vrampool {

struct Peer {
  PeerIdentity identity;
  UniqueFd pidfd;
};

// The process that connected `socket`.
//   PermissionDenied  it is in a pid namespace that this daemon cannot see
//                     (pid 0), or it has gone; the message says which.
//   Internal          the kernel or /proc did not answer.
absl::StatusOr<Peer> IdentifyPeer(int socket);

// The start time in the text of /proc/PID/stat, in clock ticks since boot
// (field 22). The second field is the command's name in parentheses and may
// itself contain anything, so fields are counted from the last ')'.
std::optional<uint64_t> StartTimeFromStat(std::string_view stat);

// The effective uid in the text of /proc/PID/status (the line "Uid:").
std::optional<uid_t> EffectiveUidFromStatus(std::string_view status);

// The v2 path in the text of /proc/PID/cgroup (the line that begins with
// "0::"); empty where there is none.
std::string CgroupFromProc(std::string_view cgroup);

// The text of /proc/PID/cmdline, arguments separated by spaces, clean and at
// most 256 bytes.
std::string CommandLineFromProc(std::string_view cmdline);

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_IDENTITY_H_
