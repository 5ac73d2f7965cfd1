// device_directory.h - which daemons there are, as their directory shows it.
//
//   DIR/<device uuid>/broker.sock     one directory per device
//   DIR/gpu0 -> <device uuid>         a link per device, for people
//
// Every error says in plain words what is missing and what to do about it; its
// code says what kind of trouble it is:
//   Unavailable        nobody serves (directory or socket missing, or stale)
//   PermissionDenied   there may be one, but this user may not look or connect
//   NotFound           the device asked for has no directory
//   InvalidArgument    several devices, and none was chosen

#ifndef VRAMPOOL_CLIENT_CLI_DEVICE_DIRECTORY_H_
#define VRAMPOOL_CLIENT_CLI_DEVICE_DIRECTORY_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace vrampool::cli {

struct Device {
  std::string uuid;                // The directory's name.
  std::vector<std::string> links;  // "gpu0", sorted.
  std::string directory;           // DIR, as given.
  bool has_socket = false;

  std::string SocketPath() const;  // Of the gRPC socket.
  std::string AttachPath() const;
  std::string Title() const;  // "gpu0 (GPU-1234...)", or the uuid alone.
};

// Every device directory in `directory`, sorted by name; at least one.
absl::StatusOr<std::vector<Device>> ListDevices(const std::string& directory);

// The device named `wanted` (uuid or link), or with an empty `wanted` all that
// have a socket; when none has one, Unavailable. At least one.
absl::StatusOr<std::vector<Device>> SelectDevices(const std::string& directory,
                                                  const std::string& wanted);

// As above, where one device is needed.
absl::StatusOr<Device> SelectDevice(const std::string& directory,
                                    const std::string& wanted);

// OK when somebody listens on the device's gRPC socket.
absl::Status Probe(const Device& device);

// Connects a unix socket of `type` (SOCK_STREAM or SOCK_SEQPACKET): the
// descriptor, or minus the errno. ENAMETOOLONG when the path is too long.
int ConnectUnix(const std::string& path, int type);

}  // namespace vrampool::cli

#endif  // VRAMPOOL_CLIENT_CLI_DEVICE_DIRECTORY_H_
