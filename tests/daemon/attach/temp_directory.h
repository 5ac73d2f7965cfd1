// temp_directory.h - a directory that goes with all that is in it, and names
// that no other test uses.

#ifndef VRAMPOOL_TESTS_DAEMON_ATTACH_TEMP_DIRECTORY_H_
#define VRAMPOOL_TESTS_DAEMON_ATTACH_TEMP_DIRECTORY_H_

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/check.h"

namespace vrampool::testing {

class TempDirectory {
 public:
  TempDirectory() {
    char path[] = "/tmp/vrampool-XXXXXX";
    VRAMPOOL_CHECK(::mkdtemp(path) != nullptr);
    path_ = path;
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Abstract sockets are shared by the whole machine, so every device of every
// test has a name of its own.
inline std::string UniqueUuid() {
  static std::atomic<int> last{0};
  return "host-test-" + std::to_string(::getpid()) + "-" +
         std::to_string(++last);
}

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_DAEMON_ATTACH_TEMP_DIRECTORY_H_
