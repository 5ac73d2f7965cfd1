// session_text.h - a session and its process in words.

#ifndef VRAMPOOL_CLIENT_CLI_SESSION_TEXT_H_
#define VRAMPOOL_CLIENT_CLI_SESSION_TEXT_H_

#include <string>

#include "vrampool/v1/admin.pb.h"

namespace vrampool::cli {

// "live", "condemned", "ended", or "?" of a newer daemon.
std::string StateText(v1::SessionInfo::State state);

// The command line, else the executable; may hold anything.
std::string CommandText(const v1::ProcessIdentity& process);

// "uid 1000 alice", as this machine's users are called now; "uid 1000".
std::string UserText(uint32_t uid);

// The short id of the container that a cgroup belongs to (Docker, Podman,
// containerd, CRI-O), or "".
std::string ContainerOf(std::string_view cgroup);

// "session 7 (pid 123, uid 1000, tag run-7, python train.py)", printable.
std::string SessionText(const v1::SessionInfo& session);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_SESSION_TEXT_H_
