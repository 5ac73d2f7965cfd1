// child.h - another process that the demo runs: this program in a role, or the
// command-line tool.
//
// Whatever happens to the demo, its children end with it.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_DEPLOY_DEMO_CHILD_H_
#define VRAMPOOL_DEPLOY_DEMO_CHILD_H_

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace vrampool::demo {

using Deadline = std::chrono::steady_clock::time_point;

inline Deadline In(std::chrono::seconds patience) {
  return std::chrono::steady_clock::now() + patience;
}

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

// Both ends are closed in children that are not given them. Empty on error.
Pipe MakePipe();

class Child {
 public:
  struct Options {
    std::vector<std::string> command;  // A path, and its arguments.
    int extra_fd = -1;                 // Becomes its descriptor 3; -1: none.
  };

  // Nothing when there is no process or pipe to be had.
  static std::optional<Child> Start(const Options& options);

  Child(Child&&) = default;
  Child& operator=(Child&&) = delete;
  ~Child();  // Kills the process if it has not ended.

  pid_t pid() const { return pid_; }

  bool WriteLine(const std::string& line);

  // The next line that it printed. Nothing when it ended or `deadline` passed.
  std::optional<std::string> ReadLine(Deadline deadline);

  // Everything that it prints until it ends.
  std::string ReadAll(Deadline deadline);

  // Its exit status, or 128 and the signal that ended it; waits for its end.
  // Kills it when `deadline` passes.
  int Wait(Deadline deadline);

  void Kill();

 private:
  Child(pid_t pid, UniqueFd pidfd, Pipe streams)
      : pid_(pid), pidfd_(std::move(pidfd)), streams_(std::move(streams)) {}

  // False when nothing more comes.
  bool ReadMore(Deadline deadline);

  pid_t pid_;
  UniqueFd pidfd_;
  Pipe streams_;  // Its output to read, its input to write.
  std::string unread_;
  bool has_ended_ = false;
};

}  // namespace vrampool::demo

#endif  // VRAMPOOL_DEPLOY_DEMO_CHILD_H_
