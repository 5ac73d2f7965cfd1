// discovery.h - finds a device's directory among those in VRAMPOOL_DIR.
//
// Every device has a directory named by its UUID; links (gpu0, host0) point to
// them. Directories without an attach socket are of daemons that were stopped:
// they count only when they are named.
//
// Threads: functions; they read the file system.

#ifndef VRAMPOOL_CLIENT_SESSION_DISCOVERY_H_
#define VRAMPOOL_CLIENT_SESSION_DISCOVERY_H_

#include <chrono>
#include <string>

#include "client/session/status.h"

namespace vrampool::client {

// The directory of `device` (a UUID or a link's name; empty: the only one with
// a daemon), without a slash at its end.
//   Unavailable      no daemon serves the directory or the device
//   NotFound         no such device here, or several and none was named
//   InvalidArgument  `device` is not fit for a file name
Result<std::string> FindDevice(const std::string& directory,
                               const std::string& device);

// Waits until something appears in `directory` or its folder `device`, a short
// while has passed, or `deadline` has come: then it is worth trying again.
void AwaitDaemon(const std::string& directory, const std::string& device,
                 std::chrono::steady_clock::time_point deadline);

}  // namespace vrampool::client

#endif  // VRAMPOOL_CLIENT_SESSION_DISCOVERY_H_
