#include "tests/testing/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"

namespace vrampool::testing {
namespace {

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

absl::Status Failed(absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

absl::Status MakePipe(Pipe& pipe) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Failed("pipe2");
  pipe.read.reset(ends[0]);
  pipe.write.reset(ends[1]);
  return absl::OkStatus();
}

std::vector<std::string> MergedEnvironment(
    const std::vector<std::string>& added) {
  const auto name_of = [](std::string_view entry) {
    return entry.substr(0, entry.find('='));
  };
  std::vector<std::string> merged = added;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    bool is_replaced = false;
    for (const std::string& variable : added) {
      is_replaced = is_replaced || name_of(variable) == name_of(*entry);
    }
    if (!is_replaced) merged.emplace_back(*entry);
  }
  return merged;
}

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (const std::string& word : words) {
    pointers.push_back(const_cast<char*>(word.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

struct Plan {
  char* const* arguments;
  char* const* environment;
  int input;  // -1: as here, likewise below.
  int output;
  int errors;
  bool is_traced;
};

// Only what is safe between fork and exec of a process that has threads.
[[noreturn]] void Become(const Plan& plan) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);  // A convenience: no check.
  sigset_t none;
  sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, nullptr);
  if ((plan.input >= 0 && dup2(plan.input, STDIN_FILENO) < 0) ||
      (plan.output >= 0 && dup2(plan.output, STDOUT_FILENO) < 0) ||
      (plan.errors >= 0 && dup2(plan.errors, STDERR_FILENO) < 0)) {
    _exit(126);
  }
  if (plan.is_traced && (setpgid(0, 0) != 0 ||
                         ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0)) {
    _exit(125);
  }
  execve(plan.arguments[0], plan.arguments, plan.environment);
  _exit(127);
}

// Until `fd` is readable; false when the time is up.
bool AwaitReadable(int fd, absl::Time deadline) {
  while (true) {
    pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    const int ready =
        poll(&wanted, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (ready > 0) return true;
    if (ready == 0 && left <= 0) return false;
    if (ready < 0 && errno != EINTR) return false;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const Options& options) {
  Pipe to_child;
  Pipe from_child;
  if (options.has_pipes) {
    // A child that has gone is an error of WriteLine(), not this one's death.
    (void)std::signal(SIGPIPE, SIG_IGN);
    VRAMPOOL_RETURN_IF_ERROR(MakePipe(to_child));
    VRAMPOOL_RETURN_IF_ERROR(MakePipe(from_child));
  }
  UniqueFd log;
  if (!options.log_path.empty()) {
    log.reset(open(options.log_path.c_str(),
                   O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!log.is_valid()) return Failed(options.log_path);
  }
  const std::vector<std::string> variables =
      MergedEnvironment(options.environment);
  const std::vector<char*> arguments = Pointers(options.words);
  const std::vector<char*> environment = Pointers(variables);
  const Plan plan = {
      .arguments = arguments.data(),
      .environment = environment.data(),
      .input = to_child.read.get(),
      .output = options.has_pipes ? from_child.write.get() : log.get(),
      .errors = log.get(),
      .is_traced = options.is_traced};
  std::unique_ptr<ChildProcess> child(new ChildProcess());
  const pid_t pid = fork();
  if (pid < 0) return Failed("fork");
  if (pid == 0) Become(plan);
  // Whoever comes first, so that it is so when this returns.
  if (options.is_traced) (void)setpgid(pid, pid);
  child->pid_ = pid;
  child->pidfd_.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  child->input_ = std::move(to_child.write);
  child->output_ = std::move(from_child.read);
  if (!child->pidfd_.is_valid()) return Failed("pidfd_open");
  return child;
}

ChildProcess::~ChildProcess() { Kill(); }

void ChildProcess::Signal(int signal) {
  if (pid_ > 0) (void)kill(pid_, signal);
}

absl::StatusOr<int> ChildProcess::AwaitEnd(absl::Duration limit) {
  if (pid_ <= 0) return end_status_;
  if (!AwaitReadable(pidfd_.get(), absl::Now() + limit)) {
    return absl::DeadlineExceededError(
        absl::StrCat("process ", pid_, " has not ended"));
  }
  while (waitpid(pid_, &end_status_, 0) < 0) {
    if (errno != EINTR) return Failed("waitpid");
  }
  pid_ = -1;
  return end_status_;
}

void ChildProcess::Kill() {
  Signal(SIGKILL);
  (void)AwaitEnd();  // A killed process ends.
}

absl::Status ChildProcess::WriteLine(const std::string& line) {
  const std::string text = line + "\n";
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t count =
        write(input_.get(), text.data() + written, text.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot write \"", line,
                       "\" to the process: ", std::strerror(errno)));
    }
    written += static_cast<size_t>(count);
  }
  return absl::OkStatus();
}

std::string ChildProcess::ReadAll() {
  std::string text;
  for (auto line = ReadLine(); line.ok(); line = ReadLine()) {
    text += *line + "\n";
  }
  return text;
}

bool ChildProcess::HasLine() {
  return unread_.find('\n') != std::string::npos ||
         AwaitReadable(output_.get(), absl::Now());
}

absl::StatusOr<std::string> ChildProcess::ReadLine(absl::Duration limit) {
  const absl::Time deadline = absl::Now() + limit;
  while (true) {
    if (const size_t end = unread_.find('\n'); end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return line;
    }
    if (!AwaitReadable(output_.get(), deadline)) {
      return absl::DeadlineExceededError(
          absl::StrCat("process ", pid_, " says nothing"));
    }
    char text[4096];
    const ssize_t count = read(output_.get(), text, sizeof(text));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      return absl::UnavailableError("the process has closed its output");
    }
    unread_.append(text, static_cast<size_t>(count));
  }
}

}  // namespace vrampool::testing
