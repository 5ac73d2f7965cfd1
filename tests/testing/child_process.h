// child_process.h - another process of a test: started, watched, ended.
//
// It ends with the thread that started it, whatever becomes of that: start
// children on the test's main thread.
//
// Threads: not thread-safe.

#ifndef VRAMPOOL_TESTS_TESTING_CHILD_PROCESS_H_
#define VRAMPOOL_TESTS_TESTING_CHILD_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/unique_fd.h"

namespace vrampool::testing {

// How long a test waits for what should come at once: enough for a busy machine
// and a sanitizer.
inline constexpr absl::Duration kPatience = absl::Seconds(60);

class ChildProcess {
 public:
  struct Options {
    std::vector<std::string> words = {};  // The program's path, its arguments.
    // "NAME=value", in place of or in addition to what this process has.
    std::vector<std::string> environment = {};
    // Takes stderr, and stdout unless `has_pipes`; appended to. Empty: as here.
    std::string log_path = "";
    // Connects its stdin and stdout to WriteLine() and ReadLine().
    bool has_pipes = false;
    // It asks to be traced before it becomes the program: it stops there, and
    // the caller is its tracer. It leads a process group of its own.
    bool is_traced = false;
  };
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const Options& options);
  ~ChildProcess();  // Kills what still runs.
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  bool is_running() const { return pid_ > 0; }

  // Readable when the process has ended.
  int pidfd() const { return pidfd_.get(); }

  void Signal(int signal);
  // Waits for its end: the status as of waitpid(2), also when asked again.
  // DeadlineExceeded when it goes on.
  absl::StatusOr<int> AwaitEnd(absl::Duration limit = kPatience);
  // SIGKILL, and waits for its end.
  void Kill();

  // The line is written with a newline; Unavailable when nobody reads.
  absl::Status WriteLine(const std::string& line);
  // The next line, without its newline. DeadlineExceeded; Unavailable at the
  // end of its output.
  absl::StatusOr<std::string> ReadLine(absl::Duration limit = kPatience);
  // Every line that is left, to the end of its output.
  std::string ReadAll();
  // ReadLine() would not wait for a line.
  bool HasLine();
  void CloseInput() { input_.reset(); }

 private:
  ChildProcess() = default;

  pid_t pid_ = -1;
  int end_status_ = 0;
  UniqueFd pidfd_;
  UniqueFd input_;
  UniqueFd output_;
  std::string unread_;
};

}  // namespace vrampool::testing

#endif  // VRAMPOOL_TESTS_TESTING_CHILD_PROCESS_H_
