#include "tests/testing/daemon_process.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "client/cli/device_directory.h"

namespace vrampool::testing {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(2);

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

void DropMessages(int socket) {
  char text[256];
  while (recv(socket, text, sizeof(text), MSG_DONTWAIT) >= 0) {
  }
}

// Until READY=1 came, the process ended, or the time is up.
absl::Status AwaitReady(int notify, int pidfd) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (true) {
    pollfd wanted[] = {{.fd = notify, .events = POLLIN, .revents = 0},
                       {.fd = pidfd, .events = POLLIN, .revents = 0}};
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    if (left <= 0) return absl::DeadlineExceededError("it is not ready");
    if (poll(wanted, 2, static_cast<int>(left)) < 0 && errno != EINTR) {
      return absl::InternalError(std::strerror(errno));
    }
    if ((wanted[0].revents & POLLIN) != 0) {
      char text[4096];
      const ssize_t size = recv(notify, text, sizeof(text), 0);
      const std::string_view said(text,
                                  size > 0 ? static_cast<size_t>(size) : 0);
      if (said.find("READY=1") != std::string_view::npos) {
        return absl::OkStatus();
      }
    } else if ((wanted[1].revents & POLLIN) != 0) {
      return absl::InternalError("it ended before it was ready");
    }
  }
}

bool IsWhole(const v1::GetStatusResponse& status) {
  return status.conservation_holds() && status.sessions() == 0 &&
         status.leases() == 0 && status.ghost_bytes() == 0 &&
         status.pool().free_bytes() + status.pool().clean_bytes() ==
             status.pool().capacity_bytes();
}

}  // namespace

bool Eventually(const std::function<bool()>& is_true, absl::Duration limit) {
  const absl::Time deadline = absl::Now() + limit;
  while (!is_true()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(kPollInterval);
  }
  return true;
}

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::string DaemonProcess::Program() { return VRAMPOOL_DAEMON_PATH; }

absl::StatusOr<std::unique_ptr<DaemonProcess>> DaemonProcess::Start(
    Options options) {
  std::unique_ptr<DaemonProcess> daemon(new DaemonProcess());
  std::string directory =
      (std::filesystem::temp_directory_path() / "vrampool-test-XXXXXX")
          .string();
  if (mkdtemp(directory.data()) == nullptr) {
    return absl::InternalError("no temporary directory: " + directory);
  }
  daemon->directory_ = directory;
  daemon->options_ = std::move(options);
  daemon->device_ = std::make_unique<ServedDevice>(daemon->options_.served);
  std::ofstream(daemon->config_path())
      << (daemon->options_.device.empty()
              ? daemon->device_->config()
              : "device: \"" + daemon->options_.device + "\"\n")
      << "directory: \"" << directory << "\"\n"
      << "pool_size: \"" << daemon->options_.pool_size << "\"\n"
      << "log_level: \"" << daemon->options_.log_level << "\"\n"
      << daemon->options_.config;
  VRAMPOOL_ASSIGN_OR_RETURN(daemon->notify_,
                            BindNotifySocket(directory + "/notify"));
  VRAMPOOL_RETURN_IF_ERROR(daemon->Launch());
  return daemon;
}

DaemonProcess::~DaemonProcess() {
  process_.reset();
  std::error_code ignored;  // A leftover in the temporary directory.
  std::filesystem::remove_all(directory_, ignored);
}

std::vector<std::string> DaemonProcess::ClientEnvironment(
    std::vector<std::string> more) const {
  more.push_back("VRAMPOOL_DIR=" + directory_);
  more.insert(more.end(), device_->environment().begin(),
              device_->environment().end());
  return more;
}

absl::Status DaemonProcess::Launch() {
  DropMessages(notify_.get());
  std::vector<std::string> words = {Program(), "--config", config_path()};
  words.insert(words.end(), options_.flags.begin(), options_.flags.end());
  std::vector<std::string> environment = device_->environment();
  environment.insert(environment.end(), options_.environment.begin(),
                     options_.environment.end());
  environment.push_back("NOTIFY_SOCKET=" + directory_ + "/notify");
  VRAMPOOL_ASSIGN_OR_RETURN(
      process_, ChildProcess::Start({.words = std::move(words),
                                     .environment = std::move(environment),
                                     .log_path = directory_ + "/log"}));
  const absl::Status ready = AwaitReady(notify_.get(), process_->pidfd());
  if (ready.ok()) return ready;
  process_->Kill();
  return absl::InternalError(
      absl::StrCat("vrampoold: ", ready.message(), "; its log:\n", ReadLog()));
}

absl::Status DaemonProcess::Restart() { return Launch(); }

int DaemonProcess::Terminate() {
  process_->Signal(SIGTERM);
  const absl::StatusOr<int> status = process_->AwaitEnd();
  return status.ok() && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
}

absl::StatusOr<std::unique_ptr<cli::AdminClient>> DaemonProcess::Admin() const {
  VRAMPOOL_ASSIGN_OR_RETURN(const cli::Device device,
                            cli::SelectDevice(directory_, ""));
  return cli::AdminClient::Connect(device);
}

absl::StatusOr<v1::GetStatusResponse> DaemonProcess::status() const {
  VRAMPOOL_ASSIGN_OR_RETURN(const auto admin, Admin());
  return admin->GetStatus();
}

absl::StatusOr<v1::ListSessionsResponse> DaemonProcess::sessions() const {
  VRAMPOOL_ASSIGN_OR_RETURN(const auto admin, Admin());
  return admin->ListSessions({});
}

absl::StatusOr<v1::ListLeasesResponse> DaemonProcess::leases() const {
  VRAMPOOL_ASSIGN_OR_RETURN(const auto admin, Admin());
  return admin->ListLeases({});
}

absl::StatusOr<v1::ListObjectsResponse> DaemonProcess::objects() const {
  VRAMPOOL_ASSIGN_OR_RETURN(const auto admin, Admin());
  return admin->ListObjects();
}

absl::StatusOr<v1::ListLeaksResponse> DaemonProcess::leaks() const {
  VRAMPOOL_ASSIGN_OR_RETURN(const auto admin, Admin());
  v1::ListLeaksRequest request;
  request.set_max_blocks(1000);
  return admin->ListLeaks(request);
}

absl::Status DaemonProcess::Await(
    const std::function<bool(const v1::GetStatusResponse&)>& is_true,
    absl::Duration limit) const {
  std::string last = "the daemon never answered";
  // One connection for all questions, made anew when the daemon was.
  std::unique_ptr<cli::AdminClient> admin;
  const bool is_reached = Eventually(
      [&] {
        if (admin == nullptr) {
          auto connected = Admin();
          if (!connected.ok()) return false;
          admin = *std::move(connected);
        }
        const absl::StatusOr<v1::GetStatusResponse> seen = admin->GetStatus();
        if (!seen.ok()) {
          admin.reset();
          last = seen.status().ToString();
          return false;
        }
        last = seen->ShortDebugString();
        return is_true(*seen);
      },
      limit);
  if (is_reached) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrCat("not reached; last seen: ", last));
}

absl::Status DaemonProcess::AwaitWhole(absl::Duration limit) const {
  return Await(IsWhole, limit);
}

}  // namespace vrampool::testing
