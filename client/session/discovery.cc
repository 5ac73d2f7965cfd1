#include "client/session/discovery.h"

#include <dirent.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/unique_fd.h"
#include "proto/attach/messages.h"

namespace vrampool::client {
namespace {

// Notices of the file system can be lost (a network file system, a watch limit
// that was reached): try again this often even without one.
constexpr std::chrono::milliseconds kLongestSilence(250);

bool HasSocket(const std::string& folder) {
  struct stat info {};
  const std::string path = folder + "/" + attach::kAttachSocketName;
  return ::stat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

bool IsDirectory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// Names of folders (not of links to them) that have an attach socket.
std::vector<std::string> ServedDevices(const std::string& directory) {
  std::vector<std::string> found;
  DIR* const dir = ::opendir(directory.c_str());
  if (dir == nullptr) return found;
  while (const dirent* const entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    const std::string path = directory + "/" + name;
    struct stat info {};
    if (name[0] == '.' || ::lstat(path.c_str(), &info) != 0) continue;
    if (S_ISDIR(info.st_mode) && HasSocket(path)) found.push_back(name);
  }
  ::closedir(dir);
  std::sort(found.begin(), found.end());
  return found;
}

Status NoDaemon(const std::string& where) {
  return {VRAMPOOL_UNAVAILABLE,
          "no vrampool daemon serves " + where +
              "; start vrampoold, or set VRAMPOOL_DIR to its directory"};
}

std::string Join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text;
}

}  // namespace

Result<std::string> FindDevice(const std::string& directory,
                               const std::string& device) {
  if (device.find('/') != std::string::npos || device == "." ||
      device == "..") {
    return Status(VRAMPOOL_INVALID_ARGUMENT,
                  "the device \"" + device +
                      "\" is neither a UUID nor a name like gpu0; set "
                      "VRAMPOOL_DEVICE to one of those in " +
                      directory);
  }
  if (!device.empty()) {
    const std::string folder = directory + "/" + device;
    if (HasSocket(folder)) return folder;
    if (IsDirectory(folder)) return NoDaemon("device " + device);
    const std::vector<std::string> served = ServedDevices(directory);
    if (served.empty()) return NoDaemon(directory);
    return Status(VRAMPOOL_NOT_FOUND, "there is no device \"" + device +
                                          "\" in " + directory +
                                          "; it has: " + Join(served));
  }
  const std::vector<std::string> served = ServedDevices(directory);
  if (served.empty()) return NoDaemon(directory);
  if (served.size() > 1) {
    return Status(VRAMPOOL_NOT_FOUND, directory +
                                          " has several devices; set "
                                          "VRAMPOOL_DEVICE to one of: " +
                                          Join(served));
  }
  return directory + "/" + served.front();
}

void AwaitDaemon(const std::string& directory, const std::string& device,
                 std::chrono::steady_clock::time_point deadline) {
  using std::chrono::milliseconds;
  UniqueFd notices(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (notices.is_valid()) {
    constexpr uint32_t kAppeared = IN_CREATE | IN_MOVED_TO;
    (void)::inotify_add_watch(notices.get(), directory.c_str(), kAppeared);
    if (!device.empty()) {
      const std::string folder = directory + "/" + device;
      (void)::inotify_add_watch(notices.get(), folder.c_str(), kAppeared);
    }
  }
  const auto left = std::chrono::duration_cast<milliseconds>(
      deadline - std::chrono::steady_clock::now());
  const auto wait = std::clamp(left, milliseconds(0), kLongestSilence);
  pollfd event{.fd = notices.get(), .events = POLLIN, .revents = 0};
  (void)::poll(&event, 1, static_cast<int>(wait.count()));
}

}  // namespace vrampool::client
