#include "daemon/stop_signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace vrampool {

absl::StatusOr<std::unique_ptr<StopSignals>> StopSignals::Block() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr);
  UniqueFd signals(error == 0 ? signalfd(-1, &set, SFD_CLOEXEC) : -1);
  UniqueFd cancel(eventfd(0, EFD_CLOEXEC));
  if (!signals.is_valid() || !cancel.is_valid()) {
    return absl::InternalError(
        absl::StrCat("cannot watch for signals: ",
                     std::strerror(error == 0 ? errno : error)));
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  return std::unique_ptr<StopSignals>(
      new StopSignals(std::move(signals), std::move(cancel)));
}

StopSignals::StopSignals(UniqueFd signals, UniqueFd cancel)
    : signals_(std::move(signals)), cancel_(std::move(cancel)) {}

StopSignals::~StopSignals() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  // An eventfd at 0 takes a 1 without fail.
  (void)!write(cancel_.get(), &one, sizeof(one));
  thread_.join();
}

void StopSignals::Watch(std::function<void(std::string_view)> on_stop) {
  thread_ = std::thread([this, call = std::move(on_stop)] { Loop(call); });
}

void StopSignals::Loop(const std::function<void(std::string_view)>& on_stop) {
  std::array<pollfd, 2> polled = {
      pollfd{.fd = signals_.get(), .events = POLLIN, .revents = 0},
      pollfd{.fd = cancel_.get(), .events = POLLIN, .revents = 0}};
  while (poll(polled.data(), polled.size(), -1) < 0) {
    if (errno != EINTR) return;
  }
  signalfd_siginfo info = {};
  if (polled[0].revents == 0 ||
      read(signals_.get(), &info, sizeof(info)) != sizeof(info)) {
    return;
  }
  on_stop(info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
}

}  // namespace vrampool
