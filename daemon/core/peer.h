// peer.h - who a client is (the kernel's word) and what it calls itself.

#ifndef VRAMPOOL_DAEMON_CORE_PEER_H_
#define VRAMPOOL_DAEMON_CORE_PEER_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace vrampool {

// Taken from the kernel when a connection was accepted. Two identities are the
// same process if pid and start time are equal (pids are reused, pairs are
// not).
struct PeerIdentity {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  uint64_t start_time_ticks = 0;  // Field 22 of /proc/PID/stat.
  std::string cgroup;             // The v2 path; empty where there is none.
  std::string executable;         // Labels from here on: for reports only.
  std::string command_line;       // At most 256 bytes, arguments by spaces.

  bool operator==(const PeerIdentity&) const = default;
  bool IsSameProcess(const PeerIdentity& other) const {
    return pid == other.pid && start_time_ticks == other.start_time_ticks;
  }
};

// What a client says about itself: shown, never trusted.
struct Labels {
  std::string name;
  std::string tag;
  std::string framework;
  bool operator==(const Labels&) const = default;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_CORE_PEER_H_
