// command_lines.h - reads the command lines of strangers without waiting for
// them.
//
// The kernel takes /proc/PID/cmdline out of the process's own memory, and that
// memory can be a file of a filesystem that the process itself serves: such a
// read ends when the process likes. So a thread of its own does it, and who
// asks waits a little at most. While that thread is stuck, and for a while
// after, command lines (labels in reports, nothing else) are empty and nobody
// waits.
//
// Threads: thread-safe. The reading thread is never joined, for it may be stuck
// for good; what it uses lives as long as it does.

#ifndef VRAMPOOL_DAEMON_ATTACH_COMMAND_LINES_H_
#define VRAMPOOL_DAEMON_ATTACH_COMMAND_LINES_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace vrampool {

class CommandLines {
 public:
  struct Options {
    std::function<std::string(pid_t)> read;  // May take for ever.
    std::chrono::milliseconds patience{200};
    std::chrono::milliseconds rest = std::chrono::seconds(10);
  };
  explicit CommandLines(Options options);
  ~CommandLines();
  CommandLines(const CommandLines&) = delete;
  CommandLines& operator=(const CommandLines&) = delete;

  // What `read` gave, or "" when it takes too long.
  std::string Of(pid_t pid);

 private:
  struct Shared;

  const std::shared_ptr<Shared> shared_;
};

}  // namespace vrampool

#endif  // VRAMPOOL_DAEMON_ATTACH_COMMAND_LINES_H_
