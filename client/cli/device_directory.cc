#include "client/cli/device_directory.h"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/unique_fd.h"
#include "client/cli/text.h"
#include "client/cli/trouble.h"
#include "proto/attach/messages.h"

namespace vrampool::cli {
namespace {

std::string StartHint(const std::string& directory) {
  return absl::StrCat("Start one with: vrampoold --directory ", directory,
                      " (or: systemctl start vrampoold@host-0). If it serves "
                      "another directory, name that with --directory or "
                      "VRAMPOOL_DIR.");
}

absl::Status DirectoryError(const std::string& directory, int error) {
  switch (error) {
    case ENOENT:
      return MakeError(absl::StatusCode::kUnavailable,
                       {.what = absl::StrCat("no daemon serves ", directory,
                                             ": the directory does not exist"),
                        .remedy = StartHint(directory)});
    case EACCES:
      return MakeError(
          absl::StatusCode::kPermissionDenied,
          {.what = absl::StrCat("cannot look into ", directory,
                                ": permission denied"),
           .remedy = "Run as a user who may enter it, or have its owner allow "
                     "that (chmod o+rx)."});
    case ENOTDIR:
      return MakeError(absl::StatusCode::kInvalidArgument,
                       {.what = directory + " is not a directory",
                        .remedy = StartHint(directory)});
    default:
      return MakeError(absl::StatusCode::kUnavailable,
                       {.what = absl::StrCat("cannot look into ", directory,
                                             ": ", std::strerror(error)),
                        .remedy = StartHint(directory)});
  }
}

bool IsSocket(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

std::string Titles(const std::vector<Device>& devices) {
  std::string text;
  for (const Device& device : devices) {
    absl::StrAppend(&text, "\n  ", device.Title());
  }
  return text;
}

// The name of the directory that a link in `directory` leads to, or "".
std::string LinkTarget(const std::string& directory, const std::string& name) {
  std::error_code error;
  const auto target =
      std::filesystem::read_symlink(directory + "/" + name, error);
  if (error) return "";
  return target.has_filename() ? target.filename().string()
                               : target.parent_path().filename().string();
}

struct Entries {
  std::vector<std::string> directories;
  std::vector<std::string> links;
};

absl::StatusOr<Entries> ReadEntries(const std::string& directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory.c_str()),
                                                   closedir);
  if (stream == nullptr) return DirectoryError(directory, errno);
  Entries entries;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name.empty() || name[0] == '.') continue;
    struct stat info {};
    if (lstat((directory + "/" + name).c_str(), &info) != 0) continue;
    if (S_ISDIR(info.st_mode)) entries.directories.push_back(name);
    if (S_ISLNK(info.st_mode)) entries.links.push_back(name);
  }
  std::sort(entries.directories.begin(), entries.directories.end());
  std::sort(entries.links.begin(), entries.links.end());
  return entries;
}

}  // namespace

std::string Device::SocketPath() const {
  return absl::StrCat(directory, "/", uuid, "/", attach::kBrokerSocketName);
}

std::string Device::AttachPath() const {
  return absl::StrCat(directory, "/", uuid, "/", attach::kAttachSocketName);
}

std::string Device::Title() const {
  const std::string name = Printable(uuid);
  return links.empty()
             ? name
             : absl::StrCat(Printable(links.front()), " (", name, ")");
}

absl::StatusOr<std::vector<Device>> ListDevices(const std::string& directory) {
  VRAMPOOL_ASSIGN_OR_RETURN(const Entries entries, ReadEntries(directory));
  std::vector<Device> devices;
  for (const std::string& name : entries.directories) {
    Device device{.uuid = name, .links = {}, .directory = directory};
    device.has_socket = IsSocket(device.SocketPath());
    for (const std::string& link : entries.links) {
      if (LinkTarget(directory, link) == name) device.links.push_back(link);
    }
    devices.push_back(std::move(device));
  }
  if (devices.empty()) {
    return MakeError(
        absl::StatusCode::kUnavailable,
        {.what = absl::StrCat("no daemon serves ", directory,
                              ": the directory is empty (it has no device)"),
         .remedy = StartHint(directory)});
  }
  return devices;
}

absl::StatusOr<std::vector<Device>> SelectDevices(const std::string& directory,
                                                  const std::string& wanted) {
  VRAMPOOL_ASSIGN_OR_RETURN(std::vector<Device> devices,
                            ListDevices(directory));
  if (wanted.empty()) {
    // A directory without a socket belongs to a daemon that stopped; it does
    // not keep the others from being found.
    std::vector<Device> served;
    std::copy_if(devices.begin(), devices.end(), std::back_inserter(served),
                 [](const Device& device) { return device.has_socket; });
    if (served.empty()) {
      // Says what is the matter, or finds a daemon that has just started.
      VRAMPOOL_RETURN_IF_ERROR(Probe(devices.front()));
      served.push_back(devices.front());
    }
    return served;
  }
  for (const Device& device : devices) {
    if (device.uuid == wanted ||
        std::count(device.links.begin(), device.links.end(), wanted) > 0) {
      return std::vector<Device>{device};
    }
  }
  return absl::NotFoundError(absl::StrCat("no device \"", Printable(wanted),
                                          "\" in ", directory,
                                          "; there are:", Titles(devices)));
}

absl::StatusOr<Device> SelectDevice(const std::string& directory,
                                    const std::string& wanted) {
  VRAMPOOL_ASSIGN_OR_RETURN(std::vector<Device> devices,
                            SelectDevices(directory, wanted));
  if (devices.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("several devices are served in ", directory,
                     "; choose one with --device:", Titles(devices)));
  }
  return devices.front();
}

absl::Status Probe(const Device& device) {
  const std::string path = device.SocketPath();
  const int connected = ConnectUnix(path, SOCK_STREAM);
  if (connected >= 0) {
    UniqueFd closes_it(connected);
    return absl::OkStatus();
  }
  const std::string nobody =
      absl::StrCat("no daemon serves ", device.Title(), ": ");
  const std::string start = StartHint(device.directory);
  switch (-connected) {
    case ENOENT:
    case ENOTDIR:
      return MakeError(
          absl::StatusCode::kUnavailable,
          {.what = absl::StrCat(nobody, path,
                                " does not exist (its daemon has stopped)"),
           .remedy = start});
    case ECONNREFUSED:
      return MakeError(
          absl::StatusCode::kUnavailable,
          {.what = absl::StrCat(nobody, "nobody listens on ", path,
                                " (its daemon died and left the socket)"),
           .remedy = "The next daemon replaces the socket. " + start});
    case EACCES:
    case EPERM:
      return MakeError(
          absl::StatusCode::kPermissionDenied,
          {.what =
               absl::StrCat("may not connect to ", path, ": permission denied"),
           .remedy = "Run as a user who may write to the socket (ls -l shows "
                     "its mode), or set socket_mode in the daemon's "
                     "configuration."});
    case ENAMETOOLONG:
      return MakeError(
          absl::StatusCode::kInvalidArgument,
          {.what = path + " is longer than the 107 bytes that the kernel "
                          "allows for a socket's path",
           .remedy = "Use a directory with a shorter name."});
    default:
      return MakeError(absl::StatusCode::kUnavailable,
                       {.what = absl::StrCat("cannot connect to ", path, ": ",
                                             std::strerror(-connected)),
                        .remedy = start});
  }
}

int ConnectUnix(const std::string& path, int type) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return -ENAMETOOLONG;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  UniqueFd connection(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!connection.is_valid()) return -errno;
  // A daemon that hangs with a full backlog must not hang us.
  const timeval limit{.tv_sec = 5, .tv_usec = 0};
  (void)setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &limit,
                   sizeof(limit));  // Best effort: only a bound on waiting.
  if (connect(connection.get(), reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) != 0) {
    return -errno;
  }
  return connection.release();
}

}  // namespace vrampool::cli
