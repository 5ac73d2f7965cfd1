#include "tests/bench/bench_daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace vrampool::bench {
namespace {

constexpr int kReadyTimeoutMs = 30'000;
constexpr int kStopTimeoutMs = 20'000;

absl::StatusOr<UniqueFd> BindNotifySocket(const std::string& path) {
  UniqueFd notify(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(path + " is too long: set TMPDIR");
  }
  path.copy(address.sun_path, path.size());
  if (bind(notify.get(), reinterpret_cast<const sockaddr*>(&address),
           sizeof(address)) != 0) {
    return absl::InternalError(
        absl::StrCat("binding ", path, ": ", std::strerror(errno)));
  }
  return notify;
}

// Only what is safe between fork and exec of a process that has threads: the
// arguments are made by the parent.
[[noreturn]] void Become(char* const* arguments, char* const* environment,
                         int output) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);  // A convenience: no check.
  if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0) {
    _exit(126);
  }
  execve(arguments[0], arguments, environment);
  _exit(127);
}

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) {
    pointers.push_back(const_cast<char*>(word.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

// The environment, with the socket on which readiness is to be told.
std::vector<std::string> EnvironmentWith(const std::string& notify_path) {
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::string_view(*entry).rfind("NOTIFY_SOCKET=", 0) != 0) {
      variables.emplace_back(*entry);
    }
  }
  variables.push_back("NOTIFY_SOCKET=" + notify_path);
  return variables;
}

// Until READY=1 came, the process ended, or the time is up.
absl::Status AwaitReady(int notify, int pidfd) {
  while (true) {
    pollfd wanted[] = {{.fd = notify, .events = POLLIN, .revents = 0},
                       {.fd = pidfd, .events = POLLIN, .revents = 0}};
    const int ready = poll(wanted, 2, kReadyTimeoutMs);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return absl::DeadlineExceededError("it is not ready");
    if ((wanted[0].revents & POLLIN) == 0) {
      return absl::InternalError("it ended before it was ready");
    }
    char text[4096];
    const ssize_t size = recv(notify, text, sizeof(text), 0);
    const std::string_view said(text, size > 0 ? static_cast<size_t>(size) : 0);
    if (said.find("READY=1") != std::string_view::npos) {
      return absl::OkStatus();
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<BenchDaemon>> BenchDaemon::Start(
    const BenchPool& pool) {
  const char* const program = std::getenv("VRAMPOOL_DAEMON");
  if (program == nullptr) {
    return absl::InvalidArgumentError(
        "VRAMPOOL_DAEMON is not set: it names the daemon to measure");
  }
  std::string directory =
      (std::filesystem::temp_directory_path() / "vrampool-bench-XXXXXX")
          .string();
  if (mkdtemp(directory.data()) == nullptr) {
    return absl::InternalError("no temporary directory: " + directory);
  }
  const std::string notify_path = directory + "/notify";
  VRAMPOOL_ASSIGN_OR_RETURN(const UniqueFd notify,
                            BindNotifySocket(notify_path));
  const std::string log_path = directory + "/log";
  const UniqueFd log(
      open(log_path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  // The directory's name is the run's own, and so is the device's.
  const std::vector<std::string> words = {
      program,
      "--device",
      "host:" + directory.substr(directory.rfind('/') + 1),
      "--directory",
      directory,
      "--pool-size",
      pool.size,
      "--tenant-limit",
      pool.tenant_limit,
      "--log-level",
      "warn"};
  const std::vector<std::string> variables = EnvironmentWith(notify_path);
  const std::vector<char*> arguments = Pointers(words);
  const std::vector<char*> environment = Pointers(variables);
  const pid_t pid = fork();
  if (pid < 0) return absl::InternalError("no process to be had");
  if (pid == 0) Become(arguments.data(), environment.data(), log.get());
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  // From here on its destructor stops the process.
  std::unique_ptr<BenchDaemon> daemon(
      new BenchDaemon(pid, std::move(pidfd), directory));
  const absl::Status ready = AwaitReady(notify.get(), daemon->pidfd_.get());
  if (!ready.ok()) {
    return absl::InternalError(absl::StrCat(
        program, ": ",
        absl::string_view(ready.message().data(), ready.message().size())));
  }
  return daemon;
}

BenchDaemon::~BenchDaemon() {
  kill(pid_, SIGTERM);
  pollfd wanted{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
  int ready = 0;
  do {
    ready = poll(&wanted, 1, kStopTimeoutMs);
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  std::error_code ignored;  // A leftover in the temporary directory.
  std::filesystem::remove_all(directory_, ignored);
}

}  // namespace vrampool::bench
