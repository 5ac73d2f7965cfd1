#include "deploy/demo/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

namespace vrampool::demo {
namespace {

// False when `deadline` passed before `fd` could be read.
bool AwaitReadable(int fd, Deadline deadline) {
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready =
        poll(&wanted, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

// What a child of this process must not be without: its three streams.
[[noreturn]] void Become(const std::vector<std::string>& command, int input,
                         int output, int extra) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);  // Else it outlives us; no harm.
  // dup2 clears the close-on-exec flag, except of a descriptor onto itself.
  if (extra >= 0 && extra != 3 && dup2(extra, 3) < 0) _exit(126);
  if (extra == 3 && fcntl(3, F_SETFD, 0) != 0) _exit(126);
  if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0) {
    _exit(126);
  }
  std::vector<char*> arguments;
  for (const std::string& word : command) {
    arguments.push_back(const_cast<char*>(word.c_str()));
  }
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

}  // namespace

Pipe MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  Pipe made;
  made.read_end.reset(ends[0]);
  made.write_end.reset(ends[1]);
  return made;
}

std::optional<Child> Child::Start(const Options& options) {
  Pipe output = MakePipe();
  Pipe input = MakePipe();
  if (!output.write_end.is_valid() || !input.write_end.is_valid()) {
    return std::nullopt;
  }
  // Not 0 to 3: Become() writes over those before it has read them all.
  const UniqueFd child_output(
      fcntl(output.write_end.get(), F_DUPFD_CLOEXEC, 10));
  const UniqueFd child_input(fcntl(input.read_end.get(), F_DUPFD_CLOEXEC, 10));
  if (!child_output.is_valid() || !child_input.is_valid()) return std::nullopt;
  const pid_t pid = fork();
  if (pid < 0) return std::nullopt;
  if (pid == 0) {
    Become(options.command, child_input.get(), child_output.get(),
           options.extra_fd);
  }
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  return Child(pid, std::move(pidfd),
               {.read_end = std::move(output.read_end),
                .write_end = std::move(input.write_end)});
}

Child::~Child() {
  if (pid_ <= 0 || has_ended_ || !pidfd_.is_valid()) return;
  Kill();
  (void)Wait(In(std::chrono::seconds(10)));  // Nobody is left to be told.
}

bool Child::WriteLine(const std::string& line) {
  const std::string text = line + "\n";
  return write(streams_.write_end.get(), text.data(), text.size()) ==
         static_cast<ssize_t>(text.size());
}

bool Child::ReadMore(Deadline deadline) {
  if (!AwaitReadable(streams_.read_end.get(), deadline)) return false;
  char chunk[4096];
  ssize_t size = 0;
  do {
    size = read(streams_.read_end.get(), chunk, sizeof(chunk));
  } while (size < 0 && errno == EINTR);
  if (size <= 0) return false;
  unread_.append(chunk, static_cast<size_t>(size));
  return true;
}

std::optional<std::string> Child::ReadLine(Deadline deadline) {
  size_t end = 0;
  while ((end = unread_.find('\n')) == std::string::npos) {
    if (!ReadMore(deadline)) return std::nullopt;
  }
  std::string line = unread_.substr(0, end);
  unread_.erase(0, end + 1);
  return line;
}

std::string Child::ReadAll(Deadline deadline) {
  while (ReadMore(deadline)) {
  }
  return std::exchange(unread_, "");
}

int Child::Wait(Deadline deadline) {
  if (!AwaitReadable(pidfd_.get(), deadline)) Kill();
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  has_ended_ = true;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void Child::Kill() { kill(pid_, SIGKILL); }

}  // namespace vrampool::demo
